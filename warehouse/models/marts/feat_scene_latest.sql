-- Grain: one row. Base rates of the log and of each scene at var serve_as_of, by default the day after the last known day.
{{ config(materialized='mart') }}
{%- set counts = ['n_impressions', 'n_clicks'] + slot_columns(['n_impressions', 'n_clicks']) %}

with

daily as (
    select * from {{ ref('int_scene_daily') }}
),

moment as (
    {%- if day_var('serve_as_of') %}
    select date '{{ day_var('serve_as_of') }}' as as_of_date
    {%- else %}
    select max(day) + 1 as as_of_date
    from daily
    {%- endif %}
),

pivoted as (
    {{ pivoted_by_scene('daily') }}
),

past as (
    select
        {{ counts | join(', ') }},
        pivoted.as_of_date as day,
        moment.as_of_date
    from pivoted
    cross join moment
    where pivoted.as_of_date < moment.as_of_date
),

summed as (
    select
        as_of_date,
        {{ sums_before_as_of(counts) }}
    from past
    group by as_of_date
),

rated as (
    select
        *,
        n_clicks_cum / cast(nullif(n_impressions_cum, 0) as double) as prior_rate
    from summed
)

select
    as_of_date,
    prior_rate,
    {{ daily_scene_measures() }}
from rated
