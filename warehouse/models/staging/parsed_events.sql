-- Grain: one impression of a raw row (source_file, source_row, source_position). Typed; if it can't be
-- read, with the reason. Lines that can't be parsed are in int_malformed_lines.
{{ config(
    meta={'refresh': 'append', 'whole_when': 'raw_files_are_read_again'},
    pre_hook=["{{ clear_malformed_lines() }}", "{{ read_files_in_parallel(true) }}"],
    post_hook=["{{ stop_if_rows_share_a_key() }}", "{{ save_malformed_lines() }}", "{{ read_files_in_parallel(false) }}"]) }}
{%- set content = ['user_id', 'item_id', 'scene', 'event_at', 'known_at', 'label', 'item_title', 'item_entities', 'user_texts',
    'ctx_dense', 'ctx_ids', 'source_position'] | join(', ') %}

with

raw as (
    select
        {{ canonical_columns(ref('src_' ~ adapter_name())) }}
    from {{ ref('src_' ~ adapter_name()) }}
    where {{ in_new_files() }}
),

typed as (
    select
        source_file,
        source_row,
        coalesce(source_position, 1) as source_position,
        source_file || ':' || cast(source_row as string) || coalesce(':' || cast(source_position as string), '') as row_id,
        {{ id_of(blank_to_null('event_id')) }} as log_event_id,
        {{ id_of(blank_to_null('user_id')) }} as user_id,
        {{ id_of(blank_to_null('item_id')) }} as item_id,
        case when scene in ({{ quoted(scenes()) }}) then scene else {{ id_of('scene') }} end as scene,
        event_at as event_at_text,
        {{ instant('event_at') }} as event_at,
        {{ blank_to_null('known_at') }} as known_at_text,
        {{ instant('known_at') }} as written_known_at,
        label as label_text,
        {{ truth('label') }} as label,
        item_title,
        item_entities,
        split_entity,
        user_texts,
        {{ numbers('ctx_dense') }} as ctx_dense,
        {{ ids_of('ctx_ids') }} as ctx_ids
    from raw
),

known as (
    select
        *,
        case
            when known_at_text is null then event_at + interval '{{ number_var('label_delay') }}' second
            else written_known_at
        end as known_at,
        {{ element(filtered_list('ctx_ids', is_no_id('t')), 1) }} as first_no_id
    from typed
),

judged as (
    select
        source_file,
        source_row,
        source_position,
        coalesce(log_event_id, row_id) as event_id,
        log_event_id is not null as is_log_event_id,
        user_id,
        item_id,
        scene,
        event_at,
        cast(event_at as date) as event_date,
        known_at,
        cast(known_at as date) as known_date,
        cast(case when label in (0, 1) then label end as integer) as label,
        item_title,
        item_entities,
        user_texts,
        ctx_dense,
        ctx_ids,
        case
            when user_id is null then 'user_id is missing'
            when {{ is_no_id('user_id') }} then 'user_id is not an id: ' || user_id
            when item_id is null then 'item_id is missing'
            when {{ is_no_id('item_id') }} then 'item_id is not an id: ' || item_id
            when {{ is_no_id('log_event_id') }} then 'event_id is not an id: ' || log_event_id
            when event_at is null then {{ time_error('event_at', 'event_at_text') }}
            when year(event_at) not between 1970 and 2199 then 'event_at is not between 1970 and 2199: ' || event_at_text
            when {{ is_in_the_future('event_at') }} then 'event_at is later than now: ' || event_at_text
            when known_at is null then {{ time_error('known_at', 'known_at_text') }}
            when known_at < event_at then 'known_at is before event_at: ' || known_at_text
            when year(known_at) not between 1970 and 2199 then 'known_at is not between 1970 and 2199: ' || known_at_text
            when known_at_text is not null and {{ is_in_the_future('known_at') }} then 'known_at is later than now: ' || known_at_text
            when label is null or label not in (0, 1) then 'label is not 0 or 1: ' || coalesce(label_text, 'missing')
            when scene is null then 'scene is missing'
            when scene not in ({{ quoted(scenes()) }}) then 'scene is not in var scenes: ' || scene
            when coalesce({{ list_length('ctx_dense') }}, 0) <> {{ dataset_var('ctx_dense', []) | length }}
                or coalesce({{ list_length('ctx_ids') }}, 0) <> {{ dataset_var('ctx_ids', []) | length }}
                then 'ctx_dense or ctx_ids is not as long as its var'
            when array_contains(ctx_dense, cast('inf' as double)) or array_contains(ctx_dense, cast('-inf' as double))
                then 'ctx_dense holds a text that is not a finite number'
            when first_no_id is not null then 'ctx_ids holds what is not an id: ' || first_no_id
            when split_entity is not null then 'item_entities is a list with entity_separator in an entity: ' || split_entity
        end as unreadable_because
    from known
)

-- A repeated row is found by the hash of what identifies it.
select
    *,
    case
        when unreadable_because is not null then null
        when is_log_event_id then {{ engine(duckdb='hash', spark='xxhash64') }}(event_id)
        else {{ engine(duckdb='hash', spark='xxhash64') }}({{ content }})
    end as identity
from judged
