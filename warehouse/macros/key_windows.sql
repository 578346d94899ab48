{% macro key_windows(key, daily) -%}
    {#-
      The steps that user and item features share, as CTEs ending in `joined`: one row per day on which the key is
      shown, with n_<measure>_7d and _cum (overall and by scene slot), active days, first and last dates, and the priors.
    -#}
    {%- set counts = ['n_impressions', 'n_clicks'] + slot_columns(['n_impressions', 'n_clicks']) + ['n_active_days'] %}
daily as (
    select * from {{ daily }}
    where {{ are_shown([key], daily) }}
),

priors as (
    select * from {{ ref('feat_scene', v=1) }}
),

pivoted as (
    {{ pivoted_by_scene('daily', key) }}
),

measured as (
    select
        *,
        cast(n_impressions > 0 as integer) as n_active_days,
        case when n_impressions > 0 then as_of_date end as first_date,
        case when n_impressions > 0 then as_of_date end as last_date,
        case when n_clicks > 0 then as_of_date end as last_click_date
    from pivoted
),

carried as (
    {{ with_carried('measured', [key], ['n_shown'] + counts, ['first_date'], ['last_date', 'last_click_date']) }}
),

windowed as (
    select
        {{ key }},
        as_of_date,
        n_shown,
        {{ window_sums(counts) }},
        min(first_date) over w_cum as first_date,
        max(last_date) over w_cum as last_date,
        max(last_click_date) over w_cum as last_click_date
    from carried
    window {{ windows(key) }}
),

joined as (
    select
        windowed.*,
        priors.prior_rate,
        priors.scene_click_rate_cum as scene_priors
    from windowed
    left join priors on windowed.as_of_date = priors.as_of_date
    where windowed.n_shown > 0 and {{ in_days('windowed.as_of_date') }}
)
{%- endmacro %}
