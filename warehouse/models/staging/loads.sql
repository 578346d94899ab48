-- Grain: one load, the raw files that one build found new, since everything was last read.
{{ config(materialized='view') }}

with

last_full as (
    select max(load) as load
    from {{ ref('touched_days') }}
    where day is null
),

files as (
    select
        greatest(raw_files.load, last_full.load) as load,
        count(*) as n_files,
        sum(raw_files.size) as n_bytes
    from {{ ref('raw_files') }} as raw_files
    cross join last_full
    where raw_files.reason is null
    group by all
),

days as (
    select
        load,
        count(*) as n_days,
        min(day) as first_day,
        max(day) as last_day
    from {{ ref('touched_days') }}
    where day is not null
    group by load
)

select
    files.load,
    files.load = last_full.load as is_full,
    files.n_files,
    files.n_bytes,
    days.n_days,
    days.first_day,
    days.last_day
from files
cross join last_full
left join days on files.load = days.load
