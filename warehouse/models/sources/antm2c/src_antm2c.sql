-- Grain: one impression of an AntM2C log, in CSV or Parquet parts.
{{ config(enabled=is_adapter('antm2c')) }}
{%- set remedy =
    'Lay the AntM2C parts (CSV with a header, or Parquet) there, or simulate: warehouse simulate --events 200000'
    ~ ' --out data/raw/simulated' %}
{%- set texts = ['bill_entity_seq', 'service_entity_seq', 'query_entity_seq'] %}
{%- set numbers = ['deep_features_14'] %}
{%- for i in range(19, 27) %}{% do numbers.append('deep_features_' ~ i) %}{% endfor %}
{%- set ids = [] %}
{%- for i in range(19) if i != 14 %}{% do ids.append('deep_features_' ~ i) %}{% endfor %}
{%- set columns =
    ['user_id', 'item_id', 'log_time', 'label'] + texts + ['item_entity_names', 'item_title', 'scene'] + numbers + ids %}

with

raw as (
    select * from {{ raw_parts(columns, remedy) }}
)

select
    source_file,
    source_row,
    cast(null as string) as event_id,
    cast(user_id as string) as user_id,
    cast(item_id as string) as item_id,
    cast(scene as string) as scene,
    cast(log_time as string) as event_at,
    cast(null as string) as known_at,
    cast(label as string) as label,
    item_title,
    item_entity_names as item_entities,
    {{ array_of(texts) }} as user_texts,
    {{ array_of(numbers, cast_to='string') }} as ctx_dense,
    {{ array_of(ids, cast_to='string') }} as ctx_ids
from raw
