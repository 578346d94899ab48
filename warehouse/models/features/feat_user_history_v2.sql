-- Grain: one user and number of outcomes known of them. The latest of those outcomes, most recent first.
{%- set latest = 'order by position rows between ' ~ (var('history_length') - 1) ~ ' preceding and current row' %}

with

outcomes as (
    select
        user_id,
        item_id,
        label,
        coalesce({{ text_id('title', 'item_title') }}, '') as title_text_id,
        row_number() over (partition by user_id order by known_at, event_id) as position
    from {{ ref('stg_events') }}
),

gathered as (
    select
        user_id,
        position,
        array_agg(item_id) over (partition by user_id {{ latest }}) as item_ids,
        array_agg(title_text_id) over (partition by user_id {{ latest }}) as title_text_ids,
        array_agg(label) over (partition by user_id {{ latest }}) as labels
    from outcomes
)

select
    user_id,
    cast(position as bigint) as user_n_impressions_cum,
    {{ reversed_list('item_ids') }} as user_last_item_ids,
    {{ reversed_list('title_text_ids') }} as user_last_title_text_ids,
    {{ reversed_list('labels') }} as user_last_labels
from gathered
