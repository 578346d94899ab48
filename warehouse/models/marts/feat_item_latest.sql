-- Grain: one item ever seen. What is known of it at one as_of_date, for a server.
{{ config(materialized='mart') }}

with

{{ latest_windows('item_id', ref('int_item_daily')) }}

select
    item_id,
    as_of_date,
    {{ daily_measures('item') }}
from joined
