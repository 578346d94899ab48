-- The joins of training_examples neither lose a row nor make one.
with

events as (
    select event_id from {{ ref('stg_events') }}
),

examples as (
    select event_id from {{ ref('training_examples', v=1) }}
)

(select 'lost' as problem, * from (select * from events except all select * from examples) as lost)
union all
(select 'made' as problem, * from (select * from examples except all select * from events) as made)
