-- Grain: one user and number of outcomes known of them. The latest of those outcomes, most recent first.
{{ config(meta={'refresh': 'last_known_date'}) }}

with

{{ outcomes_to_list(ref('stg_events'), ref('int_user_daily')) }},

outcomes as (
    select
        user_id,
        item_id,
        label,
        known_date,
        coalesce({{ text_id('title', 'item_title') }}, '') as title_text_id,
        n_before + row_number() over (partition by user_id order by known_at, event_id) as position
    from to_list
),

-- One window over the whole outcome: three windows over its parts take three times as long.
gathered as (
    select
        user_id,
        position,
        known_date,
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
    {{ transformed_list('outcomes', 't.label') }} as user_last_labels,
    known_date as last_known_date
from gathered
where {{ in_days('known_date') }}
