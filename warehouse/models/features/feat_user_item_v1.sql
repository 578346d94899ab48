-- Grain: one user, item and as_of_date (a day on which they meet). What was known of the pair before that day.
{{ config(meta={'refresh': 'as_of_date'}) }}
{%- set keys = ['user_id', 'item_id'] %}

with

int_user_item_daily as (
    select * from {{ ref('int_user_item_daily') }}
    where {{ are_shown(keys, ref('int_user_item_daily')) }}
),

feat_scene as (
    select * from {{ ref('feat_scene', v=1) }}
),

dated as (
    select
        *,
        day as as_of_date,
        case when n_impressions > 0 then day end as last_date,
        case when n_clicks > 0 then day end as last_click_date
    from int_user_item_daily
),

carried as (
    {{ with_carried('dated', keys, ['n_shown', 'n_impressions', 'n_clicks'], [], ['last_date', 'last_click_date']) }}
),

windowed as (
    select
        user_id,
        item_id,
        as_of_date,
        n_shown,
        {{ window_sums(['n_impressions', 'n_clicks']) }},
        max(last_date) over w_cum as last_date,
        max(last_click_date) over w_cum as last_click_date
    from carried
    window
        w_7d as (partition by user_id, item_id order by as_of_date {{ seven_days_before() }}),
        w_cum as (partition by user_id, item_id order by as_of_date {{ all_days_before() }})
),

joined as (
    select
        windowed.*,
        feat_scene.prior_rate
    from windowed
    left join feat_scene on windowed.as_of_date = feat_scene.as_of_date
    where windowed.n_shown > 0 and {{ in_days('windowed.as_of_date') }}
)

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
