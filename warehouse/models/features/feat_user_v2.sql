-- Grain: one user and instant at which the user is shown something. What was known of the user before that instant.
{{ config(meta={'refresh': 'event_at'}) }}

with

{{ instant_windows(['user_id'], ref('int_user_daily')) }},

-- The first known outcome of each item. Counted up to an instant, these give the number of distinct items.
first_meetings as (
    select
        user_id,
        item_id,
        min({{ micros('known_at') }}) as micros
    from {{ ref('stg_events') }}
    where {{ are_shown(['user_id'], ref('int_user_daily')) }}
    group by user_id, item_id
),

new_items as (
    select
        user_id,
        micros,
        count(*) as n_new_items
    from first_meetings
    group by user_id, micros
),

item_moments as (
    select
        user_id,
        micros,
        n_new_items
    from new_items

    union all

    select
        user_id,
        micros,
        0 as n_new_items
    from joined
),

item_counts as (
    select
        user_id,
        micros,
        sum(n_new_items) as n_new_items
    from item_moments
    group by user_id, micros
),

distinct_items as (
    select
        user_id,
        micros,
        cast(coalesce(sum(n_new_items) over (
            partition by user_id order by micros rows between unbounded preceding and 1 preceding
        ), 0) as bigint) as n_distinct_items_cum
    from item_counts
)

select
    user_id,
    event_at,
    {{ level('n_impressions_cum') }} as user_level,
    {{ instant_measures('user', 'prior_rate') }},
    {{ if_history('n_distinct_items_cum') }} as user_n_distinct_items_cum
from joined
inner join distinct_items using (user_id, micros)
