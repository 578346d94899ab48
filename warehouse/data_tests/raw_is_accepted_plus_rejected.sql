-- Nothing is dropped silently: every raw row or line is either an event or a reject with a reason.
with

counts as (
    select
        (select count(*) from {{ ref('parsed_events') }}) + (select count(*) from {{ ref('int_malformed_lines') }}) as n_raw,
        (select count(*) from {{ ref('stg_events') }}) as n_accepted,
        (select count(*) from {{ ref('rejected_events') }}) as n_rejected
)

select *
from counts
where n_raw <> n_accepted + n_rejected
