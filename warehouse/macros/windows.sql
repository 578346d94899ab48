{#-
  What a feature may see: every frame of a feature is defined here and nowhere else, and a model partitions it by its keys.
  By day, rows are ordered by as_of_date, a calendar day: a row sees days before its own, never its own.
-#}

{% macro seven_days_before() -%} range between interval 7 day preceding and interval 1 day preceding {%- endmacro %}
{% macro all_days_before() -%} range between unbounded preceding and interval 1 day preceding {%- endmacro %}

{#- Up to the instant, rows are ordered by micros, one row per key and instant: a row sees the instants strictly before its own. -#}

{% macro all_instants_before() -%} rows between unbounded preceding and 1 preceding {%- endmacro %}
{% macro all_instants_so_far() -%} rows between unbounded preceding and current row {%- endmacro %}

{% macro instants_before_seven_days() -%}
    {#- More than seven times 24 hours before the row's own. -#}
    range between unbounded preceding and {{ 7 * 24 * 3600 * 1000000 + 1 }} preceding
{%- endmacro %}

{% macro window_sums(measures) -%}
    {#- `<measure>_7d` and `<measure>_cum` of each additive measure: sums over the windows w_7d and w_cum, 0 where there is nothing. -#}
    {%- for measure in measures -%}
        cast(coalesce(sum({{ measure }}) over w_7d, 0) as bigint) as {{ measure }}_7d,
        cast(coalesce(sum({{ measure }}) over w_cum, 0) as bigint) as {{ measure }}_cum{{ ',' if not loop.last }}
        {% endfor -%}
{%- endmacro %}

{% macro sums_before_as_of(measures) -%}
    {#- The same sums for one as_of_date, over rows that all lie before it: a plain group by, no window. -#}
    {%- for measure in measures -%}
        cast(coalesce(sum({{ measure }}) filter (where day >= as_of_date - 7), 0) as bigint) as {{ measure }}_7d,
        cast(coalesce(sum({{ measure }}), 0) as bigint) as {{ measure }}_cum{{ ',' if not loop.last }}
        {% endfor -%}
{%- endmacro %}

{% macro latest_outcomes(list) -%}
    {#- What an event may see of its group's list: from the last outcome known before its instant, history_length at most. -#}
    {%- set first, n = 'cast(last_number - user_n_impressions_cum as integer) + 1', var('history_length') %}
    case
        when user_n_impressions_cum > 0
            then {{ engine(duckdb='list_slice', spark='slice') }}({{ list }}, {{ first }}, {{ engine(duckdb=first ~ ' + ' ~ (n - 1), spark=n) }})
    end
{%- endmacro %}

{% macro if_history(value) -%}
    {#- NULL = no history; 0 = a history with none of it. -#}
    case when n_impressions_cum > 0 then {{ value }} end
{%- endmacro %}

{% macro if_cold(value) -%}
    {#- For rows whose user or item is not warm. -#}
    case when user_level <> 'warm' or item_level <> 'warm' then {{ value }} end
{%- endmacro %}

{% macro smoothed_rate(clicks, impressions, prior) -%}
    {#- Clicks over impressions, smoothed towards a prior that is as-of too. NULL while no outcome at all is known. -#}
    ({{ clicks }} + {{ var('prior_weight') }} * {{ prior }}) / ({{ impressions }} + {{ var('prior_weight') }})
{%- endmacro %}

{% macro level(n_impressions) -%}
    case
        when coalesce({{ n_impressions }}, 0) = 0 then 'zero'
        when {{ n_impressions }} <= {{ var('few_max') }} then 'few'
        else 'warm'
    end
{%- endmacro %}
