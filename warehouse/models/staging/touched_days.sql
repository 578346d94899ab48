-- Grain: one load and day whose features it affects. A NULL day stands for every day: all that came before was read again.
{{ config(meta={'refresh': 'append'}) }}
{%- set raw_files, parsed_events, rejected_events = ref('raw_files'), ref('parsed_events'), ref('rejected_events') %}

{% if is_incremental() -%}
with

new_files as (
    select distinct
        file,
        load
    from {{ raw_files }}
    where reason is null and {{ in_new_files('file') }}
),

accepted as (
    select
        parsed.source_file,
        parsed.event_date,
        parsed.known_date
    from {{ parsed_events }} as parsed
    left join {{ rejected_events }} as rejected
        on
            parsed.source_file = rejected.source_file
            and parsed.source_row = rejected.source_row
            and parsed.source_position = rejected.source_position
    where parsed.unreadable_because is null and rejected.source_row is null and {{ in_new_files('parsed.source_file') }}
),

changed as (
    select distinct
        new_files.load,
        accepted.event_date,
        accepted.known_date
    from accepted
    inner join new_files on accepted.source_file = new_files.file
),

first_known as (
    select
        load,
        min(known_date) as day
    from changed
    group by load
),

-- An outcome counts from the day it was known: every later day of the log is affected too.
later as (
    select distinct
        first_known.load,
        first_known.day as first_day,
        {{ unnested(array_of(['events.event_date', 'events.known_date'])) }} as day
    from {{ parsed_events }} as events
    inner join first_known on events.known_date >= first_known.day
    where events.unreadable_because is null
)

select
    load,
    event_date as day
from changed

union

select
    load,
    known_date as day
from changed

union

select
    load,
    day
from later
where day >= first_day
{%- else -%}
select
    max(load) as load,
    cast(null as date) as day
from {{ raw_files }}
where reason is null
{%- endif %}
