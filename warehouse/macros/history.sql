{#-
  Lists of a user's latest outcomes. One list per event would repeat most of the list before it, so ten consecutive events
  share a list that holds what any of them may see, and each takes its own slice.
-#}

{% macro history_group(number='user_n_impressions_cum') -%}
    {#- Events of a user with 1 to 10 known outcomes are group 0, with 11 to 20 group 1; NULL without any. -#}
    cast(floor((case when {{ number }} > 0 then {{ number }} end - 1) / 10.0) as bigint)
{%- endmacro %}

{% macro history_lists(users, outcomes) -%}
    {#-
      CTEs ending in `histories`: for each user and history_group in `users` the outcomes that one of the group's lists may hold,
      most recent first, and the number of the first.
    -#}
groups as (
    select distinct
        user_id,
        history_group
    from {{ users }}
    where history_group is not null
),

gathered as (
    select
        groups.user_id,
        groups.history_group,
        max(outcomes.user_n_impressions_cum) as last_number,
        {{ latest_first('outcomes.user_n_impressions_cum',
            ['outcomes.item_id', 'outcomes.title_text_id', 'outcomes.label']) }} as outcomes
    from groups
    inner join {{ outcomes }} as outcomes
        on
            groups.user_id = outcomes.user_id
            and outcomes.user_n_impressions_cum
            between groups.history_group * 10 + {{ 2 - var('history_length') }} and groups.history_group * 10 + 10
    group by groups.user_id, groups.history_group
),

histories as (
    select
        user_id,
        history_group,
        last_number,
        {{ transformed_list('outcomes', 't.item_id') }} as item_ids,
        {{ transformed_list('outcomes', 't.title_text_id') }} as title_text_ids,
        {{ transformed_list('outcomes', 't.label') }} as labels
    from gathered
)
{%- endmacro %}

{% macro latest_outcomes(list) -%}
    {#- What an event may see of its group's list: from the last outcome known before its instant, history_length at most. -#}
    case
        when user_n_impressions_cum > 0
            then {{ part_of_list(list, 'cast(last_number - user_n_impressions_cum as integer) + 1', var('history_length')) }}
    end
{%- endmacro %}
