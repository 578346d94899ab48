-- Grain: one user and as_of_date (a day on which the user is shown something). What was known of the user before that day.
{{ config(meta={'refresh': 'as_of_date'}) }}
{%- set counts = ['n_impressions', 'n_clicks', 'n_active_days'] + slot_columns(['n_impressions', 'n_clicks']) %}

with

int_user_daily as (
    select * from {{ ref('int_user_daily') }}
    where {{ are_shown(['user_id'], ref('int_user_daily')) }}
),

feat_scene as (
    select * from {{ ref('feat_scene', v=1) }}
),

pivoted as (
    select
        user_id,
        day as as_of_date,
        sum(n_shown) as n_shown,
        sum(n_impressions) as n_impressions,
        sum(n_clicks) as n_clicks,
        {{ counts_by_scene(['n_impressions', 'n_clicks']) }}
    from int_user_daily
    group by user_id, day
),

dated as (
    select
        *,
        cast(n_impressions > 0 as integer) as n_active_days,
        case when n_impressions > 0 then as_of_date end as first_date,
        case when n_impressions > 0 then as_of_date end as last_date,
        case when n_clicks > 0 then as_of_date end as last_click_date
    from pivoted
),

carried as (
    {{ with_carried('dated', ['user_id'], ['n_shown'] + counts, ['first_date'], ['last_date', 'last_click_date']) }}
),

windowed as (
    select
        user_id,
        as_of_date,
        n_shown,
        {{ window_sums(counts) }},
        min(first_date) over w_cum as first_date,
        max(last_date) over w_cum as last_date,
        max(last_click_date) over w_cum as last_click_date
    from carried
    window
        w_7d as (partition by user_id order by as_of_date {{ seven_days_before() }}),
        w_cum as (partition by user_id order by as_of_date {{ all_days_before() }})
),

joined as (
    select
        windowed.*,
        feat_scene.prior_rate,
        feat_scene.scene_click_rate_cum as scene_priors
    from windowed
    left join feat_scene on windowed.as_of_date = feat_scene.as_of_date
    where windowed.n_shown > 0 and {{ in_days('windowed.as_of_date') }}
)

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
