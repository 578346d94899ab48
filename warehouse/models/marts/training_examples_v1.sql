-- Grain: one event. Features as of the event's day (v1: what a nightly batch can serve), label and split.
{{ config(materialized='mart', partition_by='event_date', meta={'refresh': 'event_date'}, schema=protocol_schema()) }}
{%- set own = [
    'user_scene_n_impressions_7d', 'user_scene_n_clicks_7d', 'user_scene_click_rate_7d',
    'user_scene_n_impressions_cum', 'user_scene_n_clicks_cum', 'user_scene_click_rate_cum',
    'item_scene_n_impressions_7d', 'item_scene_n_clicks_7d', 'item_scene_click_rate_7d',
    'item_scene_n_impressions_cum', 'item_scene_n_clicks_cum', 'item_scene_click_rate_cum',
    'scene_click_rate_7d', 'scene_click_rate_cum',
] %}

with

events as (
    select * from {{ ref('int_events') }}
    where {{ in_days('event_date') }}
),

users as (
    select * from {{ ref('feat_user', v=1) }}
    where {{ in_days('as_of_date') }}
),

items as (
    select * from {{ ref('feat_item', v=1) }}
    where {{ in_days('as_of_date') }}
),

pairs as (
    select * from {{ ref('feat_user_item', v=1) }}
    where {{ in_days('as_of_date') }}
),

scenes as (
    select * from {{ ref('feat_scene', v=1) }}
),

-- Each join is on a whole key, so no row is lost or doubled.
joined as (
    select *
    from events
    left join users using (user_id, as_of_date)
    left join items using (item_id, as_of_date)
    left join pairs using (user_id, item_id, as_of_date)
    left join scenes using (as_of_date)
),

-- The measures of the row's own scene, out of the lists over all scenes.
own_scene as (
    select
        *,
        {{ if_cold('whole_user_text_id') }} as user_text_id,
        {%- for measure in own %}
        {{ element(measure, 'scene_slot') }} as {{ measure | replace('scene_', 'own_scene_') }}{{ ',' if not loop.last }}
        {%- endfor %}
    from joined
)

select {{ contract_columns() }}
from own_scene
