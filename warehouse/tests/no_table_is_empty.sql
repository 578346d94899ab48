-- Uniqueness tests pass on an empty table, so emptiness is tested by itself: no model may be empty when the log isn't.
{%- set models = ['int_user_daily', 'int_item_daily', 'int_user_item_daily', 'int_scene_daily', 'int_entity_lists'] %}
{%- set versioned = ['feat_user', 'feat_item', 'feat_user_item', 'feat_scene', 'training_examples'] %}

with

counts as (
    {%- for name in models %}
    select '{{ name }}' as model, count(*) as n_rows from {{ ref(name) }}
    union all
    {%- endfor %}
    {%- for name in versioned %}
    select '{{ name }}' as model, count(*) as n_rows from {{ ref(name, v=1) }}
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select *
from counts
where n_rows = 0 and exists (select 1 from {{ ref('stg_events') }})
    {#- a log may well have no entities #}
    and (model <> 'int_entity_lists' or exists (select 1 from {{ ref('stg_events') }} where item_entities is not null))
