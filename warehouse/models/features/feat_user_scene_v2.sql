-- Grain: one user, scene and instant. What was known of the user in that scene before that instant.

with

{{ instant_windows(['user_id', 'scene']) }}

select
    user_id,
    scene,
    event_at,
    {{ instant_measures('user_own_scene', element('scene_priors', slot_of('scene'))) }}
from joined
