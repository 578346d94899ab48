-- Grain: one text_id. Every text that an event refers to, once, with the number of rows that do. Empty if the log has no texts.
{{ config(materialized='mart', empty_when='log_has_no_texts', meta={'refresh': 'merge'}, schema=protocol_schema()) }}

with

events as (
    select * from {{ ref('stg_events') }}
    where {{ in_days('event_date') }}
),

titles as (
    select distinct item_title from events
),

user_texts as (
    select * from {{ ref('int_user_texts') }}
    {%- if is_incremental() %}
    where user_texts in (select distinct user_texts from events)
    {%- endif %}
),

entity_lists as (
    select * from {{ ref('int_entity_lists') }}
    {%- if is_incremental() %}
    where
        entity_list in (
            select item_entities from events
            union
            select {{ unnested('user_texts') }} from events
        )
    {%- endif %}
),

counted as (
    select
        text_id,
        cast(sum(n_rows) as bigint) as n_rows,
        cast(sum(n_cold_rows) as bigint) as n_cold_rows,
        cast(sum(n_train_rows) as bigint) as n_train_rows
    from {{ ref('int_text_counts') }}
    group by text_id
),

-- Spark unnests one list per query, so the id is computed again from the text (both are trimmed).
entities as (
    select distinct {{ unnested('entities') }} as text
    from entity_lists
),

written as (
    select distinct
        {{ text_id('title', 'item_title') }} as text_id,
        {{ trimmed('item_title') }} as text,
        'title' as side
    from titles

    union all

    select
        {{ text_id('entity', 'text') }} as text_id,
        text,
        'entity' as side
    from entities

    union all

    select distinct
        text_id,
        text,
        'user' as side
    from user_texts
    {%- if is_incremental() %}

    union

    select
        text_id,
        text,
        side
    from {{ this }}
    {%- endif %}
),

joined as (
    select
        written.text_id,
        written.text,
        written.side,
        counted.n_rows,
        counted.n_cold_rows,
        counted.n_train_rows
    from written
    inner join counted on written.text_id = counted.text_id
)

select {{ contract_columns() }}
from joined
