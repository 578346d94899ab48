-- Grain: one text_id. Every text that an event refers to, once, with the number of rows that do.
{{ config(materialized='mart', schema=protocol_schema()) }}

with

examples as (
    select * from {{ ref('training_examples', v=1) }}
),

entity_lists as (
    select * from {{ ref('int_entity_lists') }}
),

events as (
    select * from {{ ref('stg_events') }}
),

flagged as (
    select
        item_title_text_id,
        item_entity_text_ids,
        user_entity_text_ids,
        user_text_id,
        cast(user_level <> 'warm' or item_level <> 'warm' as integer) as is_cold,
        cast(split = 'train' as integer) as is_train
    from examples
),

-- Rows are counted by distinct list before the lists are taken apart, so the cost is the vocabulary's, not the log's.
{%- for column in ['item_title_text_id', 'item_entity_text_ids', 'user_entity_text_ids', 'user_text_id'] %}

{{ column }}_rows as (
    select
        {{ unnested(column) if column.endswith('_ids') else column }} as text_id,
        n_rows,
        n_cold_rows,
        n_train_rows
    from (
        select
            {{ column }},
            count(*) as n_rows,
            sum(is_cold) as n_cold_rows,
            sum(is_train) as n_train_rows
        from flagged
        where {{ column }} is not null
        group by {{ column }}
    ) as by_value
),
{%- endfor %}

referred as (
    select * from item_title_text_id_rows
    union all
    select * from item_entity_text_ids_rows
    union all
    select * from user_entity_text_ids_rows
    union all
    select * from user_text_id_rows
),

counted as (
    select
        text_id,
        cast(sum(n_rows) as bigint) as n_rows,
        cast(sum(n_cold_rows) as bigint) as n_cold_rows,
        cast(sum(n_train_rows) as bigint) as n_train_rows
    from referred
    group by text_id
),

-- Spark takes one list apart a query, so the id is made again from the text (both are trimmed).
entities as (
    select distinct {{ unnested('entities') }} as text
    from entity_lists
),

written as (
    select distinct
        {{ text_id('title', 'item_title') }} as text_id,
        {{ trimmed('item_title') }} as text,
        'title' as side
    from events

    union all

    select
        {{ text_id('entity', 'text') }} as text_id,
        text,
        'entity' as side
    from entities

    union all

    select distinct
        {{ text_id('user', whole_user_text('user_texts')) }} as text_id,
        {{ trimmed(whole_user_text('user_texts')) }} as text,
        'user' as side
    from events
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
