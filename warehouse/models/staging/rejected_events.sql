-- Grain: one impression of a raw row, or a line, that is not in stg_events, with the reason.
-- depends_on: {{ ref('int_gaps') }} (a hook looks for times far from all others)
{{ config(
    meta={'refresh': 'append', 'whole_when': 'earlier_events_repeat'},
    post_hook=[
        {"sql": "{{ stop_if_too_many_rejected() }}", "transaction": false},
        {"sql": "{{ log_times_no_longer_in_the_future() }}", "transaction": false},
        {"sql": "{{ stop_if_times_are_far_off() }}", "transaction": false}]) }}
{%- set content = ['user_id', 'item_id', 'scene', 'event_at', 'known_at', 'label', 'item_title', 'item_entities', 'user_texts',
    'ctx_dense', 'ctx_ids', 'source_position'] | join(', ') %}

with

fresh as (
    select
        source_file,
        source_row,
        source_position,
        unreadable_because,
        identity
    from {{ ref('parsed_events') }}
    where {{ in_new_files() }}
),

-- Only rows that share the hash of what identifies them are compared in full. (A CTE of all parsed rows would be materialized
-- with all its columns, since it is read more than once.)
repeated as (
    select identity
    from {{ ref('parsed_events') }}
    where
        unreadable_because is null
        {%- if is_incremental() %}
        and identity in (select fresh.identity from fresh)
        {%- endif %}
    group by identity
    having count(*) > 1
),

suspects as (
    select *
    from {{ ref('parsed_events') }}
    where identity in (select repeated.identity from repeated)
),

ranked as (
    select
        source_file,
        source_row,
        source_position,
        event_id,
        is_log_event_id,
        case
            when is_log_event_id then row_number() over (partition by event_id order by source_file, source_row, source_position)
            else row_number() over (partition by {{ content }} order by source_file, source_row)
        end as occurrence,
        case when is_log_event_id then count(*) over (partition by event_id, source_file, source_row) end as n_in_row
    from suspects
),

repeats as (
    select * from ranked
    where occurrence > 1
    {%- if is_incremental() %}
        and not exists (
            select 1 from {{ this }} as before
            where
                before.source_file = ranked.source_file
                and before.source_row = ranked.source_row
                and before.source_position = ranked.source_position
        )
    {%- endif %}
)

select
    source_file,
    source_row,
    source_position,
    cast(null as bigint) as source_line,
    unreadable_because as reason,
    cast(null as string) as line
from fresh
where unreadable_because is not null

union all

select
    source_file,
    source_row,
    source_position,
    cast(null as bigint) as source_line,
    case
        when n_in_row > 1 then 'repeats the event_id ' || event_id || ' within one row: an id of a list is no id of its impressions'
        when is_log_event_id then 'repeats the event_id ' || event_id
        else 'repeats an earlier row'
    end as reason,
    cast(null as string) as line
from repeats

union all

select
    source_file,
    cast(null as bigint) as source_row,
    cast(null as bigint) as source_position,
    source_line,
    'is not a row of this file: ' || problem as reason,
    line
from {{ ref('int_malformed_lines') }}
where {{ in_new_files() }}
