-- Grain: one outcome of a user, by its number in the order in which they became known.
{{ config(meta={'refresh': 'last_known_date'}) }}

with

stg_events as (
    select * from {{ ref('stg_events') }}
    where {{ in_days('known_date') }}
),

int_user_daily as (
    select * from {{ ref('int_user_daily') }}
    where n_impressions > 0 and {{ are_shown(['user_id'], ref('int_user_daily'), condition='n_impressions > 0') }}
),

known as (
    select
        user_id,
        day,
        sum(sum(n_impressions)) over (partition by user_id order by day {{ all_days_before() }}) as n_before
    from int_user_daily
    group by user_id, day
),

-- Numbered from the first outcome of its day, on top of how many were known before that day.
numbered as (
    select
        stg_events.*,
        coalesce(known.n_before, 0)
        + row_number() over (
            partition by stg_events.user_id, stg_events.known_date order by stg_events.known_at, stg_events.event_id
        ) as position
    from stg_events
    inner join known on stg_events.user_id = known.user_id and stg_events.known_date = known.day
)

select
    user_id,
    cast(position as bigint) as user_n_impressions_cum,
    item_id,
    {{ text_id('title', 'item_title') }} as title_text_id,
    label,
    known_date as last_known_date
from numbered
