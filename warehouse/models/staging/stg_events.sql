-- Grain: one impression, its outcome and the moment that outcome was known.
{{ config(materialized="view") }}

with

parsed as (
    select
        {{ raw_position() }} as raw_position,
        *
    from {{ ref('parsed_events') }}
),

rejected as (
    select * from {{ ref('rejected_events') }}
),

first_rows as (
    select
        source_file,
        min(raw_position) as first_position
    from parsed
    group by source_file
),

accepted as (
    select parsed.*
    from parsed
    where
        parsed.unreadable_because is null
        and not exists (select 1 from rejected where rejected.raw_position = parsed.raw_position)
)

select
    coalesce(
        accepted.event_id,
        accepted.source_file || ':' || cast(accepted.raw_position - first_rows.first_position + 1 as string)
    ) as event_id,
    accepted.user_id,
    accepted.item_id,
    accepted.scene,
    accepted.event_at,
    accepted.event_date,
    accepted.known_at,
    accepted.known_date,
    accepted.label,
    accepted.item_title,
    accepted.item_entities,
    accepted.user_texts,
    accepted.ctx_dense,
    accepted.ctx_ids
from accepted
left join first_rows on accepted.source_file = first_rows.source_file
