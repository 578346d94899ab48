{#- Lists of a user's latest outcomes, cut from one list a user and day, since a list for each event would repeat nearly all. -#}

{% macro history_lists(users, outcomes) -%}
    {#-
      CTEs ending in `histories`: for each user and day of `users` (rows of feat_user v2) every outcome that one of the day's lists
      holds, most recent first, and the number of the first.
    -#}
reached as (
    select
        user_id,
        cast(event_at as date) as as_of_date,
        min(user_n_impressions_cum) - {{ var('history_length') - 1 }} as first_number,
        max(user_n_impressions_cum) as last_number
    from {{ users }}
    where user_n_impressions_cum > 0
    group by user_id, cast(event_at as date)
),

gathered as (
    select
        reached.user_id,
        reached.as_of_date,
        reached.last_number,
        {{ latest_first('outcomes.user_n_impressions_cum',
            ['outcomes.item_id', 'outcomes.title_text_id', 'outcomes.label']) }} as outcomes
    from reached
    inner join {{ outcomes }} as outcomes
        on
            reached.user_id = outcomes.user_id
            and outcomes.user_n_impressions_cum between reached.first_number and reached.last_number
    group by reached.user_id, reached.as_of_date, reached.last_number
),

histories as (
    select
        user_id,
        as_of_date,
        last_number,
        {{ transformed_list('outcomes', 't.item_id') }} as item_ids,
        {{ transformed_list('outcomes', 't.title_text_id') }} as title_text_ids,
        {{ transformed_list('outcomes', 't.label') }} as labels
    from gathered
)
{%- endmacro %}

{% macro latest_outcomes(list) -%}
    {#- What an event may see of its user's list: from the last outcome known before its instant, history_length at most. -#}
    case
        when user_n_impressions_cum > 0
            then {{ part_of_list(list, 'cast(last_number - user_n_impressions_cum as integer) + 1', var('history_length')) }}
    end
{%- endmacro %}
