-- Grain: one item and instant at which it is shown. What was known of the item before that instant.
{{ config(meta={'refresh': 'event_at'}) }}

with

{{ instant_windows(['item_id'], ref('int_item_daily')) }}

select
    item_id,
    event_at,
    {{ level('n_impressions_cum') }} as item_level,
    {{ instant_measures('item', 'prior_rate') }}
from joined
