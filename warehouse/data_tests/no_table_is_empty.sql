-- Uniqueness tests pass on an empty table, so emptiness has its own test: no model may be empty when the log isn't.
{#- A build of some models may have selected this test without having made every table it reads. -#}
{%- set relations = {} %}
{%- for name in ['int_user_daily', 'int_item_daily', 'int_user_item_daily', 'int_scene_daily'] %}
{%- if is_built(ref(name)) %}{% do relations.update({name: ref(name)}) %}{% endif %}
{%- endfor %}
{%- for name in ['feat_user', 'feat_item', 'feat_user_item', 'feat_scene', 'training_examples'] %}
{%- if is_built(ref(name, v=1)) %}{% do relations.update({name: ref(name, v=1)}) %}{% endif %}
{%- endfor %}

with

counts as (
    {%- for name, relation in relations.items() %}
    select
        '{{ name }}' as model_name,
        count(*) as n_rows
    from {{ relation }}
    {{ 'union all' if not loop.last }}
    {%- else %}
    select
        null as model_name,
        null as n_rows
    {%- endfor %}
)

select *
from counts
where
    n_rows = 0
    and exists (select 1 from {{ ref('stg_events') }})
