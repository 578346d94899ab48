-- Features that, on the last day with enough rows, are further from the train split than var max_psi and than most of train's own
-- days are (a feature that is constant within a day is far from train every day). A warning, not an error: some features drift by
-- nature, such as counts that only grow. Judge them in the table feature_profile.
{{ config(severity='warn') }}

with

profile as (
    select * from {{ ref('feature_profile') }}
    where n_rows >= {{ var('drift_min_rows') }}
),

last_day as (
    select max(event_date) as event_date
    from profile
),

usual as (
    select
        feature,
        {{ element(quantiles('psi', [0.95]), 1) }} as psi_of_train_days
    from profile
    where event_date < cast(timestamp {{ literal(instant_var('val_from')) }} as date)
    group by feature
)

select
    profile.feature,
    profile.event_date,
    profile.psi,
    usual.psi_of_train_days
from profile
inner join last_day on profile.event_date = last_day.event_date
left join usual on profile.feature = usual.feature
where profile.psi > greatest({{ var('max_psi') }}, coalesce(usual.psi_of_train_days, 0))
