-- Grain: one user, item and instant at which they meet. What was known of the pair before that instant.
{{ config(meta={'refresh': 'event_at'}) }}

with

int_moments as (
    select * from {{ ref('int_moments') }}
    where {{ on_cut_days('day') }} and {{ are_shown(['user_id', 'item_id'], ref('int_user_item_daily')) }}
),

feat_scene as (
    select * from {{ ref('feat_scene', v=1) }}
),

-- Events at one instant share a row, so that none sees another.
counted as (
    select
        user_id,
        item_id,
        day,
        {{ micros('moment_at') }} as micros,
        cast(sum(n_shown) as bigint) as n_shown,
        cast(sum(n_impressions) as bigint) as n_impressions,
        cast(sum(n_clicks) as bigint) as n_clicks,
        max(case when n_impressions > 0 then {{ micros('moment_at') }} end) as last_micros,
        max(case when n_clicks > 0 then {{ micros('moment_at') }} end) as last_click_micros
    from int_moments
    group by user_id, item_id, day, moment_at
),

carried as (
    {{ with_whole_days('counted', ['user_id', 'item_id'], ref('int_user_item_daily')) }}
),

summed as (
    select
        user_id,
        item_id,
        day,
        micros,
        n_shown,
        n_impressions,
        n_clicks,
        cast(coalesce(sum(n_impressions) over w_cum, 0) as bigint) as n_impressions_cum,
        cast(coalesce(sum(n_clicks) over w_cum, 0) as bigint) as n_clicks_cum,
        max(last_micros) over w_cum as last_micros,
        max(last_click_micros) over w_cum as last_click_micros,
        coalesce(day > lag(day) over w_ordered, true) as is_first_of_day
    from carried
    window
        w_cum as (partition by user_id, item_id order by micros {{ all_instants_before() }}),
        w_ordered as (partition by user_id, item_id order by micros)
),

-- A window's sum is the running sum less what it was at the window's start: faster than summing every frame by itself.
started as (
    select
        *,
        max(case when is_first_of_day then n_impressions_cum end) over w_so_far as n_impressions_before_today,
        max(case when is_first_of_day then n_clicks_cum end) over w_so_far as n_clicks_before_today,
        last_value({{ struct_of({'n_impressions': 'n_impressions_cum + n_impressions', 'n_clicks': 'n_clicks_cum + n_clicks'}) }})
            over w_before_7d as before_7d
    from summed
    window
        w_so_far as (partition by user_id, item_id order by micros {{ all_instants_so_far() }}),
        w_before_7d as (partition by user_id, item_id order by micros {{ instants_before_seven_days() }})
),

windowed as (
    select
        *,
        n_impressions_cum - n_impressions_before_today as n_impressions_today,
        n_clicks_cum - n_clicks_before_today as n_clicks_today,
        n_impressions_cum - coalesce(before_7d.n_impressions, 0) as n_impressions_7d,
        n_clicks_cum - coalesce(before_7d.n_clicks, 0) as n_clicks_7d
    from started
    where n_shown > 0 and {{ in_days('day') }}
),

joined as (
    select
        windowed.*,
        feat_scene.prior_rate
    from windowed
    left join feat_scene on windowed.day = feat_scene.as_of_date
)

select
    user_id,
    item_id,
    {{ instant_of('micros') }} as event_at,
    {{ if_history('n_impressions_7d') }} as user_item_n_impressions_7d,
    {{ if_history('n_clicks_7d') }} as user_item_n_clicks_7d,
    {{ smoothed_rate('n_clicks_7d', 'n_impressions_7d', 'prior_rate') }} as user_item_click_rate_7d,
    {{ if_history('n_impressions_cum') }} as user_item_n_impressions_cum,
    {{ if_history('n_clicks_cum') }} as user_item_n_clicks_cum,
    {{ smoothed_rate('n_clicks_cum', 'n_impressions_cum', 'prior_rate') }} as user_item_click_rate_cum,
    {{ if_history('n_impressions_today') }} as user_item_n_impressions_today,
    {{ if_history('n_clicks_today') }} as user_item_n_clicks_today,
    (micros - last_micros) / 1e6 as user_item_seconds_since_last,
    (micros - last_click_micros) / 1e6 as user_item_seconds_since_last_click
from joined
