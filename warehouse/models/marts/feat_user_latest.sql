-- Grain: one user ever seen. What is known of it at one as_of_date, for a server.
{{ config(materialized='mart') }}

with

{{ latest_windows('user_id', ref('int_user_daily')) }}

select
    user_id,
    as_of_date,
    {{ daily_measures('user') }}
from joined
