-- Grain: one text_id and counted_date. The rows of training_examples that refer to a text.
{#-
  counted_date is the row's own day, but all days that the last full build read are merged into the last of them. A refresh that
  adds a day counts only that day; one that affects a merged day counts all merged days again.
-#}
{{ config(meta={'refresh': 'counted_date', 'merged_base_days': true}, schema=protocol_schema(), access='protected') }}

with

examples as (
    select
        *,
        {{ merged_base_date('event_date', ref('training_examples', v=1)) }} as counted_date
    from {{ ref('training_examples', v=1) }}
),

flagged as (
    select
        counted_date,
        item_title_text_id,
        item_entity_text_ids,
        user_entity_text_ids,
        user_text_id,
        cast(user_level <> 'warm' or item_level <> 'warm' as integer) as is_cold,
        cast(split = 'train' as integer) as is_train
    from examples
    where {{ in_days('counted_date') }}
),

-- Rows are counted by distinct list before the lists are unnested, so the cost grows with the vocabulary, not with the log.
{%- for column in ['item_title_text_id', 'item_entity_text_ids', 'user_entity_text_ids', 'user_text_id'] %}

{{ column }}_rows as (
    select
        {{ unnested(column) if column.endswith('_ids') else column }} as text_id,
        counted_date,
        n_rows,
        n_cold_rows,
        n_train_rows
    from (
        select
            {{ column }},
            counted_date,
            count(*) as n_rows,
            sum(is_cold) as n_cold_rows,
            sum(is_train) as n_train_rows
        from flagged
        where {{ column }} is not null
        group by {{ column }}, counted_date
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
)

select
    text_id,
    counted_date,
    cast(sum(n_rows) as bigint) as n_rows,
    cast(sum(n_cold_rows) as bigint) as n_cold_rows,
    cast(sum(n_train_rows) as bigint) as n_train_rows
from referred
group by text_id, counted_date
