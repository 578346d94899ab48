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
counted as (
    select
        {{ array_of(['item_title_text_id']) }} as text_ids,
        counted_date,
        count(*) as n_rows,
        sum(is_cold) as n_cold_rows,
        sum(is_train) as n_train_rows
    from flagged
    where item_title_text_id is not null
    group by item_title_text_id, counted_date

    union all

    select
        item_entity_text_ids as text_ids,
        counted_date,
        count(*) as n_rows,
        sum(is_cold) as n_cold_rows,
        sum(is_train) as n_train_rows
    from flagged
    where item_entity_text_ids is not null
    group by item_entity_text_ids, counted_date

    union all

    select
        user_entity_text_ids as text_ids,
        counted_date,
        count(*) as n_rows,
        sum(is_cold) as n_cold_rows,
        sum(is_train) as n_train_rows
    from flagged
    where user_entity_text_ids is not null
    group by user_entity_text_ids, counted_date

    union all

    select
        {{ array_of(['user_text_id']) }} as text_ids,
        counted_date,
        count(*) as n_rows,
        sum(is_cold) as n_cold_rows,
        sum(is_train) as n_train_rows
    from flagged
    where user_text_id is not null
    group by user_text_id, counted_date
),

referred as (
    select
        {{ unnested('text_ids') }} as text_id,
        counted_date,
        n_rows,
        n_cold_rows,
        n_train_rows
    from counted
)

select
    text_id,
    counted_date,
    cast(sum(n_rows) as bigint) as n_rows,
    cast(sum(n_cold_rows) as bigint) as n_cold_rows,
    cast(sum(n_train_rows) as bigint) as n_train_rows
from referred
group by text_id, counted_date
