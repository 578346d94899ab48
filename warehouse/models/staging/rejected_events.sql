-- Grain: one raw row or line that is not in stg_events, with the reason.
{{ config(post_hook={"sql": "{{ stop_if_too_many_rejected() }}", "transaction": false}) }}
{%- set content = ['user_id', 'item_id', 'scene', 'event_at', 'known_at', 'label', 'item_title', 'item_entities', 'user_texts',
    'ctx_dense', 'ctx_ids'] | join(', ') %}

with

parsed as (
    select
        {{ raw_position() }} as raw_position,
        *
    from {{ ref('parsed_events') }}
),

-- A repeated row is found by the hash of what identifies it and then compared in full.
hashed as (
    select
        raw_position,
        case when event_id is null then {{ row_hash(content) }} else {{ row_hash('event_id') }} end as identity
    from parsed
    where unreadable_because is null
),

repeated as (
    select identity
    from hashed
    group by identity
    having count(*) > 1
),

suspects as (
    select parsed.*
    from hashed
    inner join repeated on hashed.identity = repeated.identity
    inner join parsed on hashed.raw_position = parsed.raw_position
),

ranked as (
    select
        source_file,
        raw_position,
        event_id,
        case
            when event_id is not null then row_number() over (partition by event_id order by raw_position)
            else row_number() over (partition by event_id, {{ content }} order by raw_position)
        end as occurrence
    from suspects
),

rejected as (
    select
        source_file,
        raw_position,
        unreadable_because as reason
    from parsed
    where unreadable_because is not null

    union all

    select
        source_file,
        raw_position,
        case when event_id is null then 'repeats an earlier row' else 'repeats the event_id ' || event_id end as reason
    from ranked
    where occurrence > 1
),

first_rows as (
    select
        source_file,
        min(raw_position) as first_position
    from parsed
    group by source_file
)

select
    rejected.source_file,
    rejected.raw_position,
    cast(rejected.raw_position - first_rows.first_position + 1 as bigint) as source_row,
    cast(null as bigint) as source_line,
    rejected.reason,
    cast(null as string) as line
from rejected
inner join first_rows on rejected.source_file = first_rows.source_file

union all

select
    source_file,
    cast(null as bigint) as raw_position,
    cast(null as bigint) as source_row,
    source_line,
    'is not a row of this file: ' || problem as reason,
    line
from {{ malformed_lines() }}
