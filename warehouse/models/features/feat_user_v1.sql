-- Grain: one user and as_of_date (a day on which the user is shown). What was known of it before that day.
{{ config(meta={'refresh': 'as_of_date'}) }}

with

{{ key_windows('user_id', ref('int_user_daily')) }}

select
    user_id,
    as_of_date,
    {{ daily_measures('user') }}
from joined
