-- Grain: one user ever seen. What is known of it at one as_of_date: what a server needs now.
{{ config(materialized='mart') }}

with

{{ latest_windows('user_id', ref('int_user_daily')) }}

select
    user_id,
    as_of_date,
    {{ daily_measures('user') }}
from joined
