-- Grain: one user, item and instant at which they meet. What was known of the pair before that instant.

with

{{ instant_windows(['user_id', 'item_id']) }}

select
    user_id,
    item_id,
    event_at,
    {{ instant_measures('user_item', 'prior_rate') }}
from joined
