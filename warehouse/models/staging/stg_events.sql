-- Grain: one impression, its outcome and the moment that outcome was known.
{{ config(materialized='view') }}

with

parsed as (
    select * from {{ ref('parsed_events') }}
),

rejected as (
    select * from {{ ref('rejected_events') }}
)

select
    event_id,
    user_id,
    item_id,
    scene,
    event_at,
    event_date,
    known_at,
    known_date,
    label,
    item_title,
    item_entities,
    user_texts,
    ctx_dense,
    ctx_ids
from parsed
where
    unreadable_because is null
    and not exists (
        select 1 from rejected
        where rejected.source_file = parsed.source_file and rejected.source_row = parsed.source_row
    )
