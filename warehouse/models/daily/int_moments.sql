-- Grain: one moment of an event: it is shown, or its outcome becomes known. An outcome known at once shares the event's row.
{{ config(materialized='view', meta={'refresh': 'day'}) }}

select
    event_id,
    user_id,
    item_id,
    scene,
    event_at as moment_at,
    event_date as day,
    1 as n_shown,
    case when known_at = event_at then 1 else 0 end as n_impressions,
    case when known_at = event_at then label else 0 end as n_clicks
from {{ ref('stg_events') }}

union all

select
    event_id,
    user_id,
    item_id,
    scene,
    known_at as moment_at,
    known_date as day,
    0 as n_shown,
    1 as n_impressions,
    label as n_clicks
from {{ ref('stg_events') }}
where known_at <> event_at
