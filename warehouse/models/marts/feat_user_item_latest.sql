-- Grain: one user and item that ever met. feat_user_item_v1 as of one day, for a server: a filtered group by, no windows.
{{ config(materialized='mart') }}

with

int_user_item_daily as (
    select * from {{ ref('int_user_item_daily') }}
),

feat_scene_latest as (
    select * from {{ ref('feat_scene_latest') }}
),

dated as (
    select
        daily.*,
        feat_scene_latest.as_of_date,
        case when daily.n_impressions > 0 then daily.day end as known_date,
        case when daily.n_clicks > 0 then daily.day end as click_date
    from int_user_item_daily as daily
    inner join feat_scene_latest on daily.day < feat_scene_latest.as_of_date
),

summed as (
    select
        user_id,
        item_id,
        as_of_date,
        {{ sums_before_as_of(['n_impressions', 'n_clicks']) }},
        max(known_date) as last_date,
        max(click_date) as last_click_date
    from dated
    group by user_id, item_id, as_of_date
),

joined as (
    select
        summed.*,
        feat_scene_latest.prior_rate
    from summed
    inner join feat_scene_latest on summed.as_of_date = feat_scene_latest.as_of_date
)

-- The columns of feat_user_item_v1, which tests/warehouse/test_latest.py compares to the bit.
select
    user_id,
    item_id,
    as_of_date,
    {{ if_history('n_impressions_7d') }} as user_item_n_impressions_7d,
    {{ if_history('n_clicks_7d') }} as user_item_n_clicks_7d,
    {{ if_history('n_impressions_cum') }} as user_item_n_impressions_cum,
    {{ if_history('n_clicks_cum') }} as user_item_n_clicks_cum,
    {{ smoothed_rate('n_clicks_cum', 'n_impressions_cum', 'prior_rate') }} as user_item_click_rate_cum,
    {{ days_between('as_of_date', 'last_date') }} as user_item_days_since_last,
    {{ days_between('as_of_date', 'last_click_date') }} as user_item_days_since_last_click
from joined
