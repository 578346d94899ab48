-- Grain: one distinct list of entities as the log writes it (an item's entities, or one part of a user's text).
{{ config(meta={'refresh': 'append'}) }}

with

events as (
    select * from {{ ref('stg_events') }}
    where {{ in_days('event_date') }}
),

lists as (
    select distinct item_entities as entity_list
    from events
    where item_entities is not null
    {%- for part in dataset_var('user_text_parts', []) %}

    union

    select distinct {{ element('user_texts', loop.index) }} as entity_list
    from events
    where {{ element('user_texts', loop.index) }} is not null
    {%- endfor %}
),

parted as (
    select
        entity_list,
        {{ split_list('entity_list', dataset_var('entity_separator', '')) }} as entities
    from lists
)

select
    entity_list,
    entities,
    {{ transformed_list('entities', text_hash('entity', 't')) }} as text_ids
from parted
{%- if is_incremental() %}
where not exists (select 1 from {{ this }} as before where before.entity_list = parted.entity_list)
{%- endif %}
