-- Grain: one impression, its outcome and the moment that outcome was known.
{#- A view on DuckDB. A table on Spark, since every feature would recompute a view; partitioned by day and scene if var spark_format is orc. -#}
{%- set on_spark = target.type != 'duckdb' -%}
{%- set in_orc = on_spark and var('spark_format') == 'orc' -%}
{{ config(materialized='incremental' if on_spark else 'view', meta={'refresh': 'event_date'}) }}
{%- if in_orc -%}{{ config(file_format='orc', partition_by=['event_date', 'scene']) }}{%- endif %}

{#- What is new is decided before the events are read: every model and every test from here on asks for it. -#}
{%- do read_touched_days() %}

select
    parsed.event_id,
    parsed.user_id,
    parsed.item_id,
    parsed.scene,
    parsed.event_at,
    parsed.event_date,
    parsed.known_at,
    parsed.known_date,
    parsed.label,
    parsed.item_title,
    parsed.item_entities,
    parsed.user_texts,
    parsed.ctx_dense,
    parsed.ctx_ids
from {{ ref('parsed_events') }} as parsed
-- A join on the key of rejected rows. With `not exists` DuckDB would materialize all columns of all parsed rows for every reader.
left join {{ ref('rejected_events') }} as rejected
    on
        parsed.source_file = rejected.source_file
        and parsed.source_row = rejected.source_row
        and parsed.source_position = rejected.source_position
where parsed.unreadable_because is null and rejected.source_row is null
{%- if on_spark %} and {{ in_days('parsed.event_date') }}{% endif %}
{%- if in_orc %}
distribute by event_date, scene
{%- endif %}
