-- Grain: one event. Features as of the event's day (v1: what a nightly batch can serve), label and split.
{{ config(materialized='mart', partition_by='event_date', meta={'refresh': 'event_date', 'vars': mart_vars()}, schema=protocol_schema()) }}

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
        {{ element('user_scene_n_impressions_7d', 'scene_slot') }} as user_own_scene_n_impressions_7d,
        {{ element('user_scene_n_clicks_7d', 'scene_slot') }} as user_own_scene_n_clicks_7d,
        {{ element('user_scene_click_rate_7d', 'scene_slot') }} as user_own_scene_click_rate_7d,
        {{ element('user_scene_n_impressions_cum', 'scene_slot') }} as user_own_scene_n_impressions_cum,
        {{ element('user_scene_n_clicks_cum', 'scene_slot') }} as user_own_scene_n_clicks_cum,
        {{ element('user_scene_click_rate_cum', 'scene_slot') }} as user_own_scene_click_rate_cum,
        {{ element('item_scene_n_impressions_7d', 'scene_slot') }} as item_own_scene_n_impressions_7d,
        {{ element('item_scene_n_clicks_7d', 'scene_slot') }} as item_own_scene_n_clicks_7d,
        {{ element('item_scene_click_rate_7d', 'scene_slot') }} as item_own_scene_click_rate_7d,
        {{ element('item_scene_n_impressions_cum', 'scene_slot') }} as item_own_scene_n_impressions_cum,
        {{ element('item_scene_n_clicks_cum', 'scene_slot') }} as item_own_scene_n_clicks_cum,
        {{ element('item_scene_click_rate_cum', 'scene_slot') }} as item_own_scene_click_rate_cum,
        {{ element('scene_click_rate_7d', 'scene_slot') }} as own_scene_click_rate_7d,
        {{ element('scene_click_rate_cum', 'scene_slot') }} as own_scene_click_rate_cum
    from joined
)

select {{ contract_columns() }}
from own_scene
