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
    {#- Clicks over impressions, drawn towards a prior that is as-of too. NULL where no outcome at all is known yet. -#}
    ({{ clicks }} + {{ var('prior_weight') }} * {{ prior }}) / ({{ impressions }} + {{ var('prior_weight') }})
{%- endmacro %}

{% macro level(n_impressions) -%}
    case
        when coalesce({{ n_impressions }}, 0) = 0 then 'zero'
        when {{ n_impressions }} <= {{ var('few_max') }} then 'few'
        else 'warm'
    end
{%- endmacro %}

{#- The same windows up to the instant: rows are ordered by micros, a row sees outcomes known strictly before its own. -#}

{% macro windows_to_the_instant(keys) -%}
    {%- set seven_days = 7 * 24 * 3600 * 1000000 -%}
    w_7d as (partition by {{ keys }} order by micros range between {{ seven_days }} preceding and 1 preceding),
    w_cum as (partition by {{ keys }} order by micros range between unbounded preceding and 1 preceding),
    w_today as (partition by {{ keys }}, day order by micros range between unbounded preceding and 1 preceding)
{%- endmacro %}

{% macro if_cold(value) -%}
    {#- For rows whose user or item is not warm. -#}
    case when user_level <> 'warm' or item_level <> 'warm' then {{ value }} end
{%- endmacro %}
