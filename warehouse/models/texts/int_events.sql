-- Grain: one event. The log with its split, the slot of its scene and the ids of its texts: the start of every mart.
{{ config(materialized='view', meta={'refresh': 'event_date'}, schema=protocol_schema()) }}

with

stg_events as (
    select * from {{ ref('stg_events') }}
),

int_entity_lists as (
    select * from {{ ref('int_entity_lists') }}
),

int_user_texts as (
    select * from {{ ref('int_user_texts') }}
),

joined as (
    select
        stg_events.*,
        {{ text_id('title', 'stg_events.item_title') }} as item_title_text_id,
        coalesce(int_entity_lists.text_ids, {{ empty_array('bigint') }}) as item_entity_text_ids,
        coalesce(int_user_texts.entity_text_ids, {{ empty_array('bigint') }}) as user_entity_text_ids,
        int_user_texts.text_id as whole_user_text_id
    from stg_events
    left join int_entity_lists on stg_events.item_entities = int_entity_lists.entity_list
    left join int_user_texts on stg_events.user_texts = int_user_texts.user_texts
)

select
    event_id,
    user_id,
    item_id,
    scene,
    {{ slot_of('scene') }} as scene_slot,
    event_at,
    event_date,
    event_date as as_of_date,
    known_at,
    label,
    {{ split_of('event_at') }} as split,
    ctx_dense,
    ctx_ids,
    item_title_text_id,
    item_entity_text_ids,
    user_entity_text_ids,
    whole_user_text_id
from joined
