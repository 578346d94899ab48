{#-
  What a feature may see. Every window of the daily features is defined here and nowhere else.
  Rows are ordered by as_of_date, a calendar day; a row sees days before its own, never its own.
-#}

{% macro windows(keys=none) -%}
    {%- set partition = "partition by " ~ keys ~ " " if keys else "" -%}
    w_7d as ({{ partition }}order by as_of_date range between interval 7 day preceding and interval 1 day preceding),
    w_cum as ({{ partition }}order by as_of_date range between unbounded preceding and interval 1 day preceding)
{%- endmacro %}

{% macro window_sums(measures) -%}
    {#- `<measure>_7d` and `<measure>_cum` of each additive measure: sums over the two windows, 0 where there is nothing. -#}
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

{% macro if_history(value) -%}
    {#- NULL = no history; 0 = a history with none of it. -#}
    case when n_impressions_cum > 0 then {{ value }} end
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

{#-
  The same windows up to the instant. Rows are ordered by micros and there is one row per key and instant, so the rows before a row are
  the instants strictly before its own. Only additive measures: the sum over a window is a running sum minus the running sum at
  its start, which takes half the time of summing each frame by itself.
-#}

{% macro windows_before_the_instant(keys) -%}
    w_before as (partition by {{ keys }} order by micros rows between unbounded preceding and 1 preceding),
    w_key as (partition by {{ keys }} order by micros)
{%- endmacro %}

{% macro sums_before_the_instant(measures) -%}
    {%- for measure in measures -%}
        cast(coalesce(sum({{ measure }}) over w_before, 0) as bigint) as {{ measure }}_cum{{ ',' if not loop.last }}
        {% endfor -%}
{%- endmacro %}

{% macro windows_to_the_starts(keys) -%}
    {#- Instants more than seven times 24 hours before the row's, and rows up to the row's own. -#}
    {%- set seven_days = 7 * 24 * 3600 * 1000000 -%}
    w_before_7d as (partition by {{ keys }} order by micros range between unbounded preceding and {{ seven_days + 1 }} preceding),
    w_so_far as (partition by {{ keys }} order by micros rows between unbounded preceding and current row)
{%- endmacro %}

{% macro sums_at_the_starts(measures) -%}
    {#- The running sums at the start of the seven days and of the row's day (a running sum never falls, so its latest value is its maximum). -#}
    last_value({{ struct_of_sums(measures) }}) over w_before_7d as before_7d,
    {%- for measure in measures %}
    max(case when is_new_day then {{ measure }}_cum end) over w_so_far as {{ measure }}_before_today{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro struct_of_sums(measures) -%}
    {%- set sums = [] -%}
    {%- for measure in measures -%}{%- do sums.append(measure ~ '_with_own') -%}{%- endfor -%}
    {{ return(struct_of(sums)) }}
{%- endmacro %}

{% macro sums_to_the_instant(measures) -%}
    {%- for measure in measures -%}
        {{ measure }}_cum,
        {{ measure }}_cum - coalesce(before_7d.{{ measure }}_with_own, 0) as {{ measure }}_7d,
        {{ measure }}_cum - {{ measure }}_before_today as {{ measure }}_today{{ ',' if not loop.last }}
        {% endfor -%}
{%- endmacro %}

{% macro if_cold(value) -%}
    {#- For rows whose user or item is not warm. -#}
    case when user_level <> 'warm' or item_level <> 'warm' then {{ value }} end
{%- endmacro %}
