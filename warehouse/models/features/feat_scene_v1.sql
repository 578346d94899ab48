-- Grain: one as_of_date. Base rates of the log and of each scene, as known before that day: the priors of smoothed rates.

with

daily as (
    select * from {{ ref('int_scene_daily') }}
),

pivoted as (
    {{ pivoted_by_scene('daily') }}
),

windowed as (
    select
        as_of_date,
        {{ window_sums(['n_impressions', 'n_clicks'] + slot_columns(['n_impressions', 'n_clicks'])) }}
    from pivoted
    window {{ windows() }}
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
    {{ daily_scene_measures() }}
from rated
