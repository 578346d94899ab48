-- Grain: one user, item and as_of_date (a day on which they meet). What was known of the pair before that day.
{{ config(meta={'refresh': 'as_of_date'}) }}

with

daily as (
    select * from {{ ref('int_user_item_daily') }}
    where {{ are_shown(['user_id', 'item_id'], ref('int_user_item_daily')) }}
),

priors as (
    select * from {{ ref('feat_scene', v=1) }}
),

days as (
    select
        *,
        day as as_of_date,
        case when n_impressions > 0 then day end as last_date,
        case when n_clicks > 0 then day end as last_click_date
    from daily
),

carried as (
    {{ with_carried(
        'days', ['user_id', 'item_id'], ['n_shown', 'n_impressions', 'n_clicks'], [], ['last_date', 'last_click_date']) }}
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
    window {{ windows('user_id, item_id') }}
),

joined as (
    select
        windowed.*,
        priors.prior_rate
    from windowed
    left join priors on windowed.as_of_date = priors.as_of_date
    where windowed.n_shown > 0 and {{ in_days('windowed.as_of_date') }}
)

select
    user_id,
    item_id,
    as_of_date,
    {{ daily_pair_measures() }}
from joined
