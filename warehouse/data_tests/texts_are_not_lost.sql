-- A log without texts has an empty mart of texts. In any other, `texts` has titles if an event has one, and entities likewise. One event
-- is enough, so a log with texts isn't read to its end.
with

events as (
    select * from {{ ref('stg_events') }}
),

titled as (
    select event_id from events
    where {{ has_title() }}
),

with_entities as (
    select event_id from events
    where {{ has_entities() }}
),

in_log as (
    select 'title' as side
    where exists (select event_id from titled)

    union all

    select 'entity' as side
    where exists (select event_id from with_entities)
),

in_mart as (
    {%- if is_built(ref('texts')) %}
    select
        side,
        count(*) as n_texts
    from {{ ref('texts') }}
    group by side
    {%- else %}
    -- A build of some models may have selected this test without having made `texts`.
    select
        side,
        1 as n_texts
    from in_log
    {%- endif %}
)

select in_log.side
from in_log
left join in_mart on in_log.side = in_mart.side
where in_mart.n_texts is null
