-- Features whose distribution on the log's last full enough day is far from the train split's. A warning, not an error: what
-- drifts by nature (counts that only grow) is for the reader to judge, in the table feature_profile.
{{ config(severity='warn') }}

with

profile as (
    select * from {{ ref('feature_profile') }}
    where n_rows >= {{ var('drift_min_rows') }}
)

select
    feature,
    event_date,
    psi
from profile
where
    event_date = (select max(event_date) from profile)
    and psi > {{ var('max_psi') }}
