-- Grain: one raw file and scan that reads it; a file that no scan reads, once.
{{ config(
    materialized='incremental',
    access='protected',
    meta={'refresh': 'all'},
    post_hook="{{ make_scan_views() }}") }}

with

found as (
    {{ rows_of_json(found_raw_files(), {
        'scan': 'string', 'file': 'string', 'size': 'bigint', 'modified_ns': 'bigint', 'columns': 'string', 'reason': 'string'}) }}
),

before as (
    {%- if is_incremental() %}
    select * from {{ this }}
    {%- else %}
    select
        *,
        cast(null as string) as change,
        cast(null as integer) as load
    from found
    where false
    {%- endif %}
),

compared as (
    select
        found.*,
        before.load as load_before,
        before.change as change_before,
        case
            when found.scan is null then null
            when before.file is null then 'new'
            when found.size <> before.size or found.modified_ns <> before.modified_ns then 'changed'
        end as change
    from found
    left join before
        on found.scan = before.scan and found.file = before.file and before.reason is null
),

gone as (
    select before.*
    from before
    left join found on before.scan = found.scan and before.file = found.file
    where before.load is not null and found.file is null
),

-- A file that changed or is gone makes every file part of the new load: all are read again.
judged as (
    select
        (select coalesce(max(load), 0) + 1 from before) as next_load,
        coalesce((select bool_or(change = 'changed') from compared), false)
        or coalesce((select bool_or(reason is null) from gone), false) as all_again
)

select
    scan,
    file,
    size,
    modified_ns,
    columns,
    reason,
    case when all_again then change else coalesce(change, change_before) end as change,
    cast(case when scan is null then null when all_again or change = 'new' then next_load else load_before end as integer)
        as load
from compared
cross join judged

union all

select
    scan,
    file,
    size,
    modified_ns,
    columns,
    'is gone' as reason,
    'gone' as change,
    cast(case when all_again then next_load else load end as integer) as load
from gone
cross join judged
where reason is null or not all_again
