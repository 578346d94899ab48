-- Grain: one event. The log with its split, the slot of its scene and the ids of its texts: the start of every mart.
{{ config(materialized='view', meta={'refresh': 'event_date'}, schema=protocol_schema()) }}

with

events as (
    select * from {{ ref('stg_events') }}
),

texts as (
    {{ with_text_ids('events') }}
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
from texts
