{% macro instant_windows(keys, daily) -%}
    {#-
      What was known of `keys` at the instant of each of their impressions, as CTEs ending in `joined`: like daily counts and
      calendar windows, but with a microsecond in place of the day. Events of one key at one instant share a row, and none sees another.
      `daily` has the daily counts of the same or finer keys; a refresh uses them.
    -#}
    {%- set key_list = keys | join(', ') -%}
    {%- set counts = ['n_impressions', 'n_clicks'] %}
events as (
    select
        {{ key_list }},
        {{ micros('event_at') }} as event_micros,
        {{ micros('known_at') }} as known_micros,
        label
    from {{ ref('stg_events') }}
    where
        ({{ on_cut_days('event_date') }} or {{ on_cut_days('known_date') }})
        and {{ are_shown(keys, daily) }}
),

-- An outcome that is known at once shares its impression's row; only the others need a row of their own.
moments as (
    select
        {{ key_list }},
        event_micros as micros,
        1 as n_shown,
        case when known_micros = event_micros then 1 else 0 end as n_impressions,
        case when known_micros = event_micros then label else 0 end as n_clicks
    from events

    union all

    select
        {{ key_list }},
        known_micros as micros,
        0 as n_shown,
        1 as n_impressions,
        label as n_clicks
    from events
    where known_micros <> event_micros
),

counted as (
    select
        {{ key_list }},
        micros,
        cast({{ instant_of('micros') }} as date) as day,
        cast(sum(n_shown) as bigint) as n_shown,
        cast(sum(n_impressions) as bigint) as n_impressions,
        cast(sum(n_clicks) as bigint) as n_clicks,
        case when sum(n_impressions) > 0 then micros end as last_micros,
        case when sum(n_clicks) > 0 then micros end as last_click_micros
    from moments
    group by {{ key_list }}, micros
),

reached as (
    {{ with_whole_days('counted', keys, daily) }}
),

summed as (
    select
        {{ key_list }},
        micros,
        day,
        n_shown,
        {%- for count in counts %}
        {{ count }},
        {%- endfor %}
        {{ sums_before_the_instant(counts) }},
        max(last_micros) over w_before as last_micros,
        max(last_click_micros) over w_before as last_click_micros,
        coalesce(day > lag(day) over w_key, true) as is_new_day
    from reached
    window {{ windows_before_the_instant(key_list) }}
),

with_own as (
    select
        *,
        {%- for count in counts %}
        cast({{ count }}_cum + {{ count }} as bigint) as {{ count }}_with_own{{ ',' if not loop.last }}
        {%- endfor %}
    from summed
),

started as (
    select
        *,
        {{ sums_at_the_starts(counts) }}
    from with_own
    window {{ windows_to_the_starts(key_list) }}
),

windowed as (
    select
        {{ key_list }},
        micros,
        day,
        n_shown,
        {{ sums_to_the_instant(counts) }},
        last_micros,
        last_click_micros
    from started
    where n_shown > 0 and {{ in_days('day') }}
),

priors as (
    select * from {{ ref('feat_scene', v=1) }}
),

joined as (
    select
        windowed.*,
        {{ instant_of('windowed.micros') }} as event_at,
        priors.prior_rate,
        priors.scene_click_rate_cum as scene_priors
    from windowed
    left join priors on windowed.day = priors.as_of_date
)
{%- endmacro %}

{% macro instant_measures(prefix, prior) -%}
    {#- The final columns that all keys share. -#}
    {%- for window in ['7d', 'cum'] %}
    {{ if_history('n_impressions_' ~ window) }} as {{ prefix }}_n_impressions_{{ window }},
    {{ if_history('n_clicks_' ~ window) }} as {{ prefix }}_n_clicks_{{ window }},
    {{ smoothed_rate('n_clicks_' ~ window, 'n_impressions_' ~ window, prior) }} as {{ prefix }}_click_rate_{{ window }},
    {%- endfor %}
    {{ if_history('n_impressions_today') }} as {{ prefix }}_n_impressions_today,
    {{ if_history('n_clicks_today') }} as {{ prefix }}_n_clicks_today,
    (micros - last_micros) / 1e6 as {{ prefix }}_seconds_since_last,
    (micros - last_click_micros) / 1e6 as {{ prefix }}_seconds_since_last_click
{%- endmacro %}
