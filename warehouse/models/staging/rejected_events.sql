-- Grain: one raw row or line that is not in stg_events, with the reason.
{{ config(post_hook={"sql": "{{ stop_if_too_many_rejected() }}", "transaction": false}) }}
{%- set content = ['user_id', 'item_id', 'scene', 'event_at', 'known_at', 'label', 'item_title', 'item_entities', 'user_texts',
    'ctx_dense', 'ctx_ids'] | join(', ') %}

with

parsed as (
    select * from {{ ref('parsed_events') }}
),

-- A repeated row is found by the hash of what identifies it, and only such suspects are compared in full.
hashed as (
    select
        source_file,
        source_row,
        case when is_log_event_id then {{ row_hash('event_id') }} else {{ row_hash(content) }} end as identity
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
    inner join parsed on hashed.source_file = parsed.source_file and hashed.source_row = parsed.source_row
),

ranked as (
    select
        source_file,
        source_row,
        event_id,
        is_log_event_id,
        case
            when is_log_event_id then row_number() over (partition by event_id order by source_file, source_row)
            else row_number() over (partition by {{ content }} order by source_file, source_row)
        end as occurrence
    from suspects
)

select
    source_file,
    source_row,
    cast(null as bigint) as source_line,
    unreadable_because as reason,
    cast(null as string) as line
from parsed
where unreadable_because is not null

union all

select
    source_file,
    source_row,
    cast(null as bigint) as source_line,
    case when is_log_event_id then 'repeats the event_id ' || event_id else 'repeats an earlier row' end as reason,
    cast(null as string) as line
from ranked
where occurrence > 1

union all

select
    source_file,
    cast(null as bigint) as source_row,
    source_line,
    'is not a row of this file: ' || problem as reason,
    line
from {{ malformed_lines() }}
