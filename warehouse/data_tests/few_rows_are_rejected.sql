-- A share above rejected_rate_warning deserves a look; above max_rejected_rate the build has stopped already.
{{ config(severity='warn') }}

select
    rejected.reason,
    count(*) as n_rows
from {{ ref('rejected_events') }} as rejected
where
    (select count(*) from {{ ref('rejected_events') }})
    + (select coalesce(sum(n_lines_taken_in), 0) from {{ ref('int_malformed_lines') }})
    > {{ var('rejected_rate_warning') }} * (select count(*) from {{ ref('parsed_events') }})
group by rejected.reason
