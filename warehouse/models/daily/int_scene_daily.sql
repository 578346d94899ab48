-- Grain: one scene and day (UTC) on which something was shown in it or an outcome became known.
{{ config(meta={'refresh': 'day'}) }}

with

int_user_daily as (
    select * from {{ ref('int_user_daily') }}
    where {{ in_days('day') }}
)

select
    scene,
    day,
    cast(sum(n_shown) as bigint) as n_shown,
    cast(sum(n_impressions) as bigint) as n_impressions,
    cast(sum(n_clicks) as bigint) as n_clicks,
    max(last_known_at) as last_known_at,
    max(last_click_at) as last_click_at
from int_user_daily
group by scene, day
