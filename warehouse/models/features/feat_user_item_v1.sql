-- Grain: one user, item and as_of_date (a day on which they meet). What was known of the pair before that day.

with

daily as (
    select * from {{ ref('int_user_item_daily') }}
),

priors as (
    select * from {{ ref('feat_scene', v=1) }}
),

days as (
    select
        *,
        day as as_of_date
    from daily
),

windowed as (
    select
        user_id,
        item_id,
        as_of_date,
        n_shown,
        {{ window_sums(['n_impressions', 'n_clicks']) }},
        max(case when n_impressions > 0 then as_of_date end) over w_cum as last_date,
        max(case when n_clicks > 0 then as_of_date end) over w_cum as last_click_date
    from days
    window {{ windows('user_id, item_id') }}
),

joined as (
    select
        windowed.*,
        priors.prior_rate
    from windowed
    left join priors on windowed.as_of_date = priors.as_of_date
    where windowed.n_shown > 0
)

select
    user_id,
    item_id,
    as_of_date,
    {{ daily_pair_measures() }}
from joined
