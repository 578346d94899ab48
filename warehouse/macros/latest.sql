{#- Features for a server: the daily features of every key ever seen, at one as-of date. -#}

{% macro latest_windows(key, daily) -%}
    {#-
      key_windows for one as-of date, as CTEs ending in `joined` with the same column names: a filtered group by over the daily
      counts. The date and the priors come from feat_scene_latest.
    -#}
    {%- set counts = ['n_impressions', 'n_clicks'] + slot_columns(['n_impressions', 'n_clicks']) %}
daily as (
    select * from {{ daily }}
),

moment as (
    select
        as_of_date,
        prior_rate,
        scene_click_rate_cum as scene_priors
    from {{ ref('feat_scene_latest') }}
),

pivoted as (
    {{ pivoted_by_scene('daily', key) }}
),

measured as (
    select
        {{ key }},
        {{ counts | join(', ') }},
        pivoted.as_of_date as day,
        moment.as_of_date,
        cast(n_impressions > 0 as integer) as n_active_days,
        case when n_impressions > 0 then pivoted.as_of_date end as active_date,
        case when n_clicks > 0 then pivoted.as_of_date end as click_date
    from pivoted
    cross join moment
    where pivoted.as_of_date < moment.as_of_date
),

summed as (
    select
        {{ key }},
        as_of_date,
        {{ sums_before_as_of(counts + ['n_active_days']) }},
        min(active_date) as first_date,
        max(active_date) as last_date,
        max(click_date) as last_click_date
    from measured
    group by {{ key }}, as_of_date
),

joined as (
    select
        summed.*,
        moment.prior_rate,
        moment.scene_priors
    from summed
    inner join moment on summed.as_of_date = moment.as_of_date
)
{%- endmacro %}
