-- Grain: one row. feat_scene_v1 as of var serve_as_of, by default the day after the last known day.
{{ config(materialized='mart') }}
{%- set counts = ['n_impressions', 'n_clicks'] + slot_columns(['n_impressions', 'n_clicks']) %}

with

int_scene_daily as (
    select * from {{ ref('int_scene_daily') }}
),

moment as (
    {%- if day_var('serve_as_of') %}
    select date '{{ day_var('serve_as_of') }}' as as_of_date
    {%- else %}
    select max(day) + 1 as as_of_date
    from int_scene_daily
    {%- endif %}
),

pivoted as (
    select
        day,
        sum(n_impressions) as n_impressions,
        sum(n_clicks) as n_clicks,
        {{ counts_by_scene(['n_impressions', 'n_clicks']) }}
    from int_scene_daily
    group by day
),

dated as (
    select
        pivoted.*,
        moment.as_of_date
    from pivoted
    inner join moment on pivoted.day < moment.as_of_date
),

summed as (
    select
        as_of_date,
        {{ sums_before_as_of(counts) }}
    from dated
    group by as_of_date
),

rated as (
    select
        *,
        n_clicks_cum / cast(nullif(n_impressions_cum, 0) as double) as prior_rate
    from summed
)

-- The columns of feat_scene_v1, which tests/warehouse/test_latest.py compares to the bit.
select
    as_of_date,
    prior_rate,
    {{ scene_counts('n_impressions', '7d') }} as scene_n_impressions_7d,
    {{ scene_rates('7d', prior='prior_rate') }} as scene_click_rate_7d,
    {{ scene_counts('n_impressions', 'cum') }} as scene_n_impressions_cum,
    {{ scene_rates('cum', prior='prior_rate') }} as scene_click_rate_cum
from rated
