-- Grain: one event. Features up to the instant of the impression (v2: what a streaming store can serve), label and split.
{{ config(materialized='mart', partition_by='event_date', meta={'refresh': 'event_date', 'vars': mart_vars()}, schema=protocol_schema()) }}
{%- set outcome = ['outcomes.item_id', 'outcomes.title_text_id', 'outcomes.label'] %}

with

events as (
    select * from {{ ref('int_events') }}
    where {{ in_days('event_date') }}
),

users as (
    select
        *,
        -- 1 to 10 known outcomes are group 0, 11 to 20 group 1; NULL without any.
        cast(floor((case when user_n_impressions_cum > 0 then user_n_impressions_cum end - 1) / 10.0) as bigint) as history_group
    from {{ ref('feat_user', v=2) }}
    where {{ at_days('event_at') }}
),

items as (
    select * from {{ ref('feat_item', v=2) }}
    where {{ at_days('event_at') }}
),

pairs as (
    select * from {{ ref('feat_user_item', v=2) }}
    where {{ at_days('event_at') }}
),

users_in_scene as (
    select * from {{ ref('feat_user_scene', v=2) }}
    where {{ at_days('event_at') }}
),

items_in_scene as (
    select * from {{ ref('feat_item_scene', v=2) }}
    where {{ at_days('event_at') }}
),

outcomes as (
    select * from {{ ref('feat_user_history', v=2) }}
),

-- One list per event would repeat most of the list before it, so ten consecutive events share a list that holds what any
-- of them may see, most recent first, and each takes its own slice.
history_groups as (
    select distinct
        user_id,
        history_group
    from users
    where history_group is not null
),

gathered as (
    select
        history_groups.user_id,
        history_groups.history_group,
        max(outcomes.user_n_impressions_cum) as last_number,
        {{ engine(
            duckdb='array_agg(' ~ struct_of(outcome) ~ ' order by outcomes.user_n_impressions_cum desc)',
            spark='sort_array(collect_list(' ~ struct_of(['outcomes.user_n_impressions_cum'] + outcome) ~ '), false)') }} as listed
    from history_groups
    inner join outcomes
        on
            history_groups.user_id = outcomes.user_id
            and outcomes.user_n_impressions_cum
            between history_groups.history_group * 10 + {{ 2 - var('history_length') }} and history_groups.history_group * 10 + 10
    group by history_groups.user_id, history_groups.history_group
),

histories as (
    select
        user_id,
        history_group,
        last_number,
        {{ transformed_list('listed', 't.item_id') }} as item_ids,
        {{ transformed_list('listed', 't.title_text_id') }} as title_text_ids,
        {{ transformed_list('listed', 't.label') }} as labels
    from gathered
),

-- What changes slowly, and the lists over all scenes, are as of the start of the day, as in v1.
users_daily as (
    select
        user_id,
        as_of_date,
        user_days_since_first,
        user_n_active_days_7d,
        user_scene_n_impressions_7d,
        user_scene_n_clicks_7d,
        user_scene_click_rate_7d,
        user_n_active_days_cum,
        user_scene_n_impressions_cum,
        user_scene_n_clicks_cum,
        user_scene_click_rate_cum
    from {{ ref('feat_user', v=1) }}
    where {{ in_days('as_of_date') }}
),

items_daily as (
    select
        item_id,
        as_of_date,
        item_days_since_first,
        item_n_active_days_7d,
        item_scene_n_impressions_7d,
        item_scene_n_clicks_7d,
        item_scene_click_rate_7d,
        item_n_active_days_cum,
        item_scene_n_impressions_cum,
        item_scene_n_clicks_cum,
        item_scene_click_rate_cum
    from {{ ref('feat_item', v=1) }}
    where {{ in_days('as_of_date') }}
),

scenes as (
    select * from {{ ref('feat_scene', v=1) }}
),

-- Each join is on a whole key, so no row is lost or doubled.
joined as (
    select *
    from events
    left join users using (user_id, event_at)
    left join items using (item_id, event_at)
    left join pairs using (user_id, item_id, event_at)
    left join users_in_scene using (user_id, scene, event_at)
    left join items_in_scene using (item_id, scene, event_at)
    left join histories using (user_id, history_group)
    left join users_daily using (user_id, as_of_date)
    left join items_daily using (item_id, as_of_date)
    left join scenes using (as_of_date)
),

timed as (
    select
        *,
        {{ latest_outcomes('item_ids') }} as user_last_item_ids,
        {{ latest_outcomes('title_text_ids') }} as user_last_title_text_ids,
        {{ latest_outcomes('labels') }} as user_last_labels,
        {{ if_cold('whole_user_text_id') }} as user_text_id,
        cast(hour(event_at) as string) as event_hour,
        cast({{ engine(duckdb='isodow(event_at)', spark='weekday(event_at) + 1') }} as string) as event_weekday,
        {{ element('scene_click_rate_7d', 'scene_slot') }} as own_scene_click_rate_7d,
        {{ element('scene_click_rate_cum', 'scene_slot') }} as own_scene_click_rate_cum
    from joined
)

select {{ contract_columns() }}
from timed
