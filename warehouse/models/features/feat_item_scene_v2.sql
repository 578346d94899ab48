-- Grain: one item, scene and instant. What was known of the item in that scene before that instant.
{{ config(meta={'refresh': 'event_at'}) }}

with

{{ instant_windows(['item_id', 'scene'], ref('int_item_daily')) }}

select
    item_id,
    scene,
    event_at,
    {{ instant_measures('item_own_scene', element('scene_priors', slot_of('scene'))) }}
from joined
