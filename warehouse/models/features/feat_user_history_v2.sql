-- Grain: one user and number of outcomes known of them. The latest of those outcomes, most recent first.

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

-- One window over the whole outcome: three windows over its parts take three times as long.
gathered as (
    select
        user_id,
        position,
        {{ reversed_list('array_agg(' ~ struct_of(['item_id', 'title_text_id', 'label']) ~ ') over latest') }} as outcomes
    from outcomes
    window latest as (
        partition by user_id order by position rows between {{ var('history_length') - 1 }} preceding and current row
    )
)

select
    user_id,
    cast(position as bigint) as user_n_impressions_cum,
    {{ transformed_list('outcomes', 't.item_id') }} as user_last_item_ids,
    {{ transformed_list('outcomes', 't.title_text_id') }} as user_last_title_text_ids,
    {{ transformed_list('outcomes', 't.label') }} as user_last_labels
from gathered
