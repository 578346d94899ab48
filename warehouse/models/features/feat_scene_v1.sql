-- Grain: one as_of_date. Base rates of the log and of each scene, as known before that day: the priors of smoothed rates.
{%- set counts = ['n_impressions', 'n_clicks'] + slot_columns(['n_impressions', 'n_clicks']) %}

with

int_scene_daily as (
    select * from {{ ref('int_scene_daily') }}
),

pivoted as (
    select
        day as as_of_date,
        sum(n_impressions) as n_impressions,
        sum(n_clicks) as n_clicks,
        {{ counts_by_scene(['n_impressions', 'n_clicks']) }}
    from int_scene_daily
    group by day
),

windowed as (
    select
        as_of_date,
        {{ window_sums(counts) }}
    from pivoted
    window
        w_7d as (order by as_of_date {{ seven_days_before() }}),
        w_cum as (order by as_of_date {{ all_days_before() }})
),

rated as (
    select
        *,
        n_clicks_cum / cast(nullif(n_impressions_cum, 0) as double) as prior_rate
    from windowed
)

select
    as_of_date,
    prior_rate,
    {{ scene_counts('n_impressions', '7d') }} as scene_n_impressions_7d,
    {{ scene_rates('7d', prior='prior_rate') }} as scene_click_rate_7d,
    {{ scene_counts('n_impressions', 'cum') }} as scene_n_impressions_cum,
    {{ scene_rates('cum', prior='prior_rate') }} as scene_click_rate_cum
from rated
