-- Features further from the train split than var max_psi and than var drift_factor times the PSI that 95% of train's own days stay
-- below (a feature that is constant within a day is far from train every day). Judged is the last day after train that is as large
-- as three quarters of train's days: a day of a few users is like no other. A warning, not an error; macros/drift_report.sql says
-- in one line what drifted and by how much, and feature_profile has every day.
{{ config(severity='warn') }}

with

profile as (
    select * from {{ ref('feature_profile') }}
    where n_rows >= {{ var('drift_min_rows') }}
),

days as (
    select distinct
        event_date,
        n_rows,
        event_date < cast(timestamp {{ literal(instant_var('val_from')) }} as date) as is_of_train
    from profile
),

sizes as (
    select
        {{ element(quantiles('case when is_of_train then n_rows end', [0.25]), 1) }} as n_rows_of_train_days,
        max(case when not is_of_train then n_rows end) as most_rows
    from days
),

-- Where no later day is that large, the largest; where there is none after train, train's last.
judged as (
    select coalesce(max(case when not is_of_train then event_date end), max(event_date)) as event_date
    from days
    cross join sizes
    where is_of_train or n_rows >= least(coalesce(n_rows_of_train_days, 0), most_rows)
),

usual as (
    select
        profile.feature,
        {{ element(quantiles('profile.psi', [0.95]), 1) }} as psi_of_train_days
    from profile
    inner join days on profile.event_date = days.event_date
    where days.is_of_train
    group by profile.feature
)

select
    profile.feature,
    profile.event_date,
    profile.psi,
    usual.psi_of_train_days
from profile
inner join judged on profile.event_date = judged.event_date
left join usual on profile.feature = usual.feature
where profile.psi > greatest({{ var('max_psi') }}, {{ var('drift_factor') }} * coalesce(usual.psi_of_train_days, 0))
