-- Grain: one impression, its outcome and the moment that outcome was known.
{#- On DuckDB a view. On Spark a table, which every feature would else recompute; by day and scene if var spark_format is orc. -#}
{%- set on_spark = target.type == 'spark' -%}
{%- set in_orc = on_spark and var('spark_format') == 'orc' -%}
{{ config(materialized='table' if on_spark else 'view', meta={'refresh': 'event_date'}) }}
{%- if in_orc -%}{{ config(file_format='orc', partition_by=['event_date', 'scene']) }}{%- endif %}

with

parsed as (
    select * from {{ ref('parsed_events') }}
),

rejected as (
    select * from {{ ref('rejected_events') }}
)

select
    event_id,
    user_id,
    item_id,
    scene,
    event_at,
    event_date,
    known_at,
    known_date,
    label,
    item_title,
    item_entities,
    user_texts,
    ctx_dense,
    ctx_ids
from parsed
where
    unreadable_because is null
    and not exists (
        select 1 from rejected
        where rejected.source_file = parsed.source_file and rejected.source_row = parsed.source_row
    )
{%- if in_orc %}
distribute by event_date, scene
{%- endif %}
