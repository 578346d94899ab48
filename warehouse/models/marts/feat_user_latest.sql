-- Grain: one user ever seen. feat_user_v1 as of one day, for a server: a filtered group by in place of windows.
{{ config(materialized='mart') }}
{%- set counts = ['n_impressions', 'n_clicks', 'n_active_days'] + slot_columns(['n_impressions', 'n_clicks']) %}

with

int_user_daily as (
    select * from {{ ref('int_user_daily') }}
),

feat_scene_latest as (
    select * from {{ ref('feat_scene_latest') }}
),

pivoted as (
    select
        user_id,
        day,
        sum(n_impressions) as n_impressions,
        sum(n_clicks) as n_clicks,
        {{ counts_by_scene(['n_impressions', 'n_clicks']) }}
    from int_user_daily
    group by user_id, day
),

dated as (
    select
        pivoted.*,
        feat_scene_latest.as_of_date,
        cast(pivoted.n_impressions > 0 as integer) as n_active_days,
        case when pivoted.n_impressions > 0 then pivoted.day end as known_date,
        case when pivoted.n_clicks > 0 then pivoted.day end as click_date
    from pivoted
    inner join feat_scene_latest on pivoted.day < feat_scene_latest.as_of_date
),

summed as (
    select
        user_id,
        as_of_date,
        {{ sums_before_as_of(counts) }},
        min(known_date) as first_date,
        max(known_date) as last_date,
        max(click_date) as last_click_date
    from dated
    group by user_id, as_of_date
),

joined as (
    select
        summed.*,
        feat_scene_latest.prior_rate,
        feat_scene_latest.scene_click_rate_cum as scene_priors
    from summed
    inner join feat_scene_latest on summed.as_of_date = feat_scene_latest.as_of_date
)

-- The columns of feat_user_v1, which tests/warehouse/test_latest.py compares to the bit.
select
    user_id,
    as_of_date,
    {{ level('n_impressions_cum') }} as user_level,
    {{ if_history('n_impressions_7d') }} as user_n_impressions_7d,
    {{ if_history('n_clicks_7d') }} as user_n_clicks_7d,
    {{ if_history('n_active_days_7d') }} as user_n_active_days_7d,
    {{ smoothed_rate('n_clicks_7d', 'n_impressions_7d', 'prior_rate') }} as user_click_rate_7d,
    {{ if_history(scene_counts('n_impressions', '7d')) }} as user_scene_n_impressions_7d,
    {{ if_history(scene_counts('n_clicks', '7d')) }} as user_scene_n_clicks_7d,
    {{ scene_rates('7d', priors='scene_priors') }} as user_scene_click_rate_7d,
    {{ if_history('n_impressions_cum') }} as user_n_impressions_cum,
    {{ if_history('n_clicks_cum') }} as user_n_clicks_cum,
    {{ if_history('n_active_days_cum') }} as user_n_active_days_cum,
    {{ smoothed_rate('n_clicks_cum', 'n_impressions_cum', 'prior_rate') }} as user_click_rate_cum,
    {{ if_history(scene_counts('n_impressions', 'cum')) }} as user_scene_n_impressions_cum,
    {{ if_history(scene_counts('n_clicks', 'cum')) }} as user_scene_n_clicks_cum,
    {{ scene_rates('cum', priors='scene_priors') }} as user_scene_click_rate_cum,
    {{ days_between('as_of_date', 'first_date') }} as user_days_since_first,
    {{ days_between('as_of_date', 'last_date') }} as user_days_since_last,
    {{ days_between('as_of_date', 'last_click_date') }} as user_days_since_last_click
from joined
