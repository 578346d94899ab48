-- Grain: one user, scene and day (UTC) on which the user was shown something or an outcome became known.
{{ config(meta={'refresh': 'day'}) }}

with

stg_events as (
    select * from {{ ref('stg_events') }}
    where {{ in_days('event_date') }} or {{ in_days('known_date') }}
),

counted as (
    select
        user_id,
        scene,
        event_date,
        known_date,
        count(*) as n_events,
        sum(label) as n_clicks,
        max(known_at) as last_known_at,
        max(case when label = 1 then known_at end) as last_click_at
    from stg_events
    group by user_id, scene, event_date, known_date
),

-- An event is shown on its own day, and is an impression (and a click) on the day its outcome was known.
dated as (
    select
        user_id,
        scene,
        event_date as day,
        n_events as n_shown,
        0 as n_impressions,
        0 as n_clicks,
        cast(null as timestamp) as last_known_at,
        cast(null as timestamp) as last_click_at
    from counted

    union all

    select
        user_id,
        scene,
        known_date as day,
        0 as n_shown,
        n_events as n_impressions,
        n_clicks,
        last_known_at,
        last_click_at
    from counted
)

select
    user_id,
    scene,
    day,
    cast(sum(n_shown) as bigint) as n_shown,
    cast(sum(n_impressions) as bigint) as n_impressions,
    cast(sum(n_clicks) as bigint) as n_clicks,
    max(last_known_at) as last_known_at,
    max(last_click_at) as last_click_at
from dated
where {{ in_days('day') }}
group by user_id, scene, day
