-- Grain: one gap between two days of the log that follow each other, by event_at or by known_at, with the rows on both sides.
{{ config(materialized='view') }}

with

parsed_events as (
    select * from {{ ref('parsed_events') }}
    where unreadable_because is null
),

counted as (
    select
        'event_at' as what,
        event_date as day,
        count(*) as n
    from parsed_events
    group by event_date

    union all

    select
        'known_at' as what,
        known_date as day,
        count(*) as n
    from parsed_events
    group by known_date
),

placed as (
    select
        what,
        day,
        lag(day) over (partition by what order by day) as day_before,
        min(day) over (partition by what) as first_day,
        max(day) over (partition by what) as last_day,
        sum(n) over (partition by what order by day) - n as n_early,
        sum(n) over (partition by what) - sum(n) over (partition by what order by day) + n as n_late
    from counted
)

select
    what,
    cast(day as string) as day,
    cast(day_before as string) as day_before,
    {{ days_between('day', 'day_before') }} as n_days,
    cast(n_early + n_late as bigint) as n_rows,
    cast(least(n_early, n_late) as bigint) as n_beyond,
    case when n_late <= n_early then 'after' else 'before' end as side,
    cast(case when n_late <= n_early then day_before else day end as string) as nearest,
    cast(case when n_late <= n_early then day else first_day end as string) as first_beyond,
    cast(case when n_late <= n_early then last_day else day_before end as string) as last_beyond
from placed
where day_before is not null
