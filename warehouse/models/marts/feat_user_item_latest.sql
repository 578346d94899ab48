-- Grain: one user and item that ever met. What is known of the pair at one as_of_date, for a server.
{{ config(materialized='mart') }}

with

daily as (
    select * from {{ ref('int_user_item_daily') }}
),

moment as (
    select
        as_of_date,
        prior_rate
    from {{ ref('feat_scene_latest') }}
),

past as (
    select
        daily.*,
        moment.as_of_date,
        case when daily.n_impressions > 0 then daily.day end as active_date,
        case when daily.n_clicks > 0 then daily.day end as click_date
    from daily
    cross join moment
    where daily.day < moment.as_of_date
),

summed as (
    select
        user_id,
        item_id,
        as_of_date,
        {{ sums_before_as_of(['n_impressions', 'n_clicks']) }},
        max(active_date) as last_date,
        max(click_date) as last_click_date
    from past
    group by user_id, item_id, as_of_date
),

joined as (
    select
        summed.*,
        moment.prior_rate
    from summed
    inner join moment on summed.as_of_date = moment.as_of_date
)

select
    user_id,
    item_id,
    as_of_date,
    {{ daily_pair_measures() }}
from joined
