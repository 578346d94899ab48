-- Grain: one outcome of a user, by its number in the order in which they became known.
{{ config(meta={'refresh': 'last_known_date'}) }}

with

{{ outcomes_to_list(ref('stg_events'), ref('int_user_daily')) }},

numbered as (
    select
        user_id,
        n_before + row_number() over (partition by user_id order by known_at, event_id) as position,
        item_id,
        {{ text_id('title', 'item_title') }} as title_text_id,
        label,
        known_date
    from to_list
)

select
    user_id,
    cast(position as bigint) as user_n_impressions_cum,
    item_id,
    title_text_id,
    label,
    known_date as last_known_date
from numbered
where {{ in_days('known_date') }}
