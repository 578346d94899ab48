{% macro daily_counts(keys) -%}
    {#-
      Additive counts by key and day. An impression counts as shown on the day of the event and as an impression (and a
      click) on the day its outcome was known: windows run over the known day, and a key needs a row on each day it is shown.
      The last instants are for windows up to the instant, to which a day that lies wholly inside is one row.
    -#}
    {%- set keys = keys | join(', ') %}
with

events as (
    select * from {{ ref('stg_events') }}
    where {{ in_days('event_date') }} or {{ in_days('known_date') }}
),

counted as (
    select
        {{ keys }},
        event_date,
        known_date,
        count(*) as n_events,
        sum(label) as n_clicks,
        max(known_at) as last_known_at,
        max(case when label = 1 then known_at end) as last_click_at
    from events
    group by {{ keys }}, event_date, known_date
),

by_day as (
    select
        {{ keys }},
        event_date as day,
        n_events as n_shown,
        0 as n_impressions,
        0 as n_clicks,
        cast(null as timestamp) as last_known_at,
        cast(null as timestamp) as last_click_at
    from counted

    union all

    select
        {{ keys }},
        known_date as day,
        0 as n_shown,
        n_events as n_impressions,
        n_clicks,
        last_known_at,
        last_click_at
    from counted
)

select
    {{ keys }},
    day,
    cast(sum(n_shown) as bigint) as n_shown,
    cast(sum(n_impressions) as bigint) as n_impressions,
    cast(sum(n_clicks) as bigint) as n_clicks,
    max(last_known_at) as last_known_at,
    max(last_click_at) as last_click_at
from by_day
where {{ in_days('day') }}
group by {{ keys }}, day
{%- endmacro %}
