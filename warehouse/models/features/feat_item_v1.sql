-- Grain: one item and as_of_date (a day on which the item is shown). What was known of it before that day.
{{ config(meta={'refresh': 'as_of_date'}) }}

with

{{ key_windows('item_id', ref('int_item_daily')) }}

select
    item_id,
    as_of_date,
    {{ daily_measures('item') }}
from joined
