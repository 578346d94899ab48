-- Grain: one item and instant at which it is shown. What was known of the item before that instant.

with

{{ instant_windows(['item_id']) }}

select
    item_id,
    event_at,
    {{ level('n_impressions_cum') }} as item_level,
    {{ instant_measures('item', 'prior_rate') }}
from joined
