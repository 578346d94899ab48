-- Grain: one user, item and day (UTC) on which they met or an outcome became known.
{{ config(meta={'refresh': 'day'}) }}

-- Most pairs meet once, so there are nearly as many groups as events. They are grouped once, where the other daily models group
-- twice: two such groupings at a time need more memory than DuckDB can free by spilling.
with

stg_events as (
    select * from {{ ref('stg_events') }}
),

-- An event is shown on its own day, and is an impression (and a click) on the day its outcome was known: mostly the same.
dated as (
    select
        user_id,
        item_id,
        event_date as day,
        1 as n_shown,
        case when known_date = event_date then 1 else 0 end as n_impressions,
        case when known_date = event_date then label else 0 end as n_clicks,
        case when known_date = event_date then known_at end as last_known_at,
        case when known_date = event_date and label = 1 then known_at end as last_click_at
    from stg_events
    where {{ in_days('event_date') }}

    union all

    select
        user_id,
        item_id,
        known_date as day,
        0 as n_shown,
        1 as n_impressions,
        label as n_clicks,
        known_at as last_known_at,
        case when label = 1 then known_at end as last_click_at
    from stg_events
    where known_date <> event_date and {{ in_days('known_date') }}
)

select
    user_id,
    item_id,
    day,
    cast(sum(n_shown) as bigint) as n_shown,
    cast(sum(n_impressions) as bigint) as n_impressions,
    cast(sum(n_clicks) as bigint) as n_clicks,
    max(last_known_at) as last_known_at,
    max(last_click_at) as last_click_at
from dated
group by user_id, item_id, day
