{#-
  Lists of a user's latest outcomes. One list per event would repeat most of the list before it, so ten consecutive events
  share a list that holds what any of them may see, and each takes its own slice.
-#}

{% macro history_group(number='user_n_impressions_cum') -%}
    {#- Events of a user with 1 to 10 known outcomes are group 0, with 11 to 20 group 1; NULL without any. -#}
    cast(floor((case when {{ number }} > 0 then {{ number }} end - 1) / 10.0) as bigint)
{%- endmacro %}

{% macro latest_outcomes(list) -%}
    {#- What an event may see of its group's list: from the last outcome known before its instant, history_length at most. -#}
    case
        when user_n_impressions_cum > 0
            then {{ part_of_list(list, 'cast(last_number - user_n_impressions_cum as integer) + 1', var('history_length')) }}
    end
{%- endmacro %}
