-- Grain: one user, scene and instant. What was known of the user in that scene before that instant.
{{ config(meta={'refresh': 'event_at'}) }}

with

{{ instant_windows(['user_id', 'scene'], ref('int_user_daily')) }}

select
    user_id,
    scene,
    event_at,
    {{ instant_measures('user_own_scene', element('scene_priors', slot_of('scene'))) }}
from joined
