-- Grain: one user, item and instant at which they meet. What was known of the pair before that instant.
{{ config(meta={'refresh': 'event_at'}) }}

with

{{ instant_windows(['user_id', 'item_id'], ref('int_user_item_daily')) }}

select
    user_id,
    item_id,
    event_at,
    {{ instant_measures('user_item', 'prior_rate') }}
from joined
