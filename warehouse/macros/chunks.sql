{#-
  A mart by day is written some days at a time (DuckDB), so that its joins hold only those days' rows in memory, however long
  the log. Two variables of the connection hold the days; a model filters by them with in_days and at_days.
-#}

{% macro is_written_in_chunks() -%}
    {{ return(target.type == 'duckdb' and model.config.materialized == 'mart' and config.get('partition_by') is not none) }}
{%- endmacro %}

{% macro chunk_edge(name) -%}
    {#- The first or the last day of the chunk; an unset variable filters nothing. -#}
    coalesce(getvariable('{{ name }}'), date '{{ '0001-01-01' if name == 'first_day' else '9999-12-31' }}')
{%- endmacro %}

{% macro in_chunk(day) -%} {{ day }} between {{ chunk_edge('first_day') }} and {{ chunk_edge('last_day') }} {%- endmacro %}

{% macro at_chunk(instant) -%}
    {{ instant }} >= cast({{ chunk_edge('first_day') }} as timestamp)
    and {{ instant }} < cast({{ chunk_edge('last_day') }} + 1 as timestamp)
{%- endmacro %}

{% macro chunks_to_write(plan) -%}
    {#- The days to write, as lists of consecutive days with up to var chunk_rows events each, or of a single day. -#}
    {%- set chunks, n_rows = [], [0] -%}
    {%- for row in run_query("select cast(event_date as varchar) as day, count(*) as n from " ~ ref_by_name('stg_events')
        ~ " group by event_date order by event_date").rows -%}
        {%- if plan.is_full or row['day'] in plan.days -%}
            {%- if chunks and chunks[-1] and n_rows[-1] + row['n'] <= var('chunk_rows') -%}
                {%- do chunks[-1].append(row['day']) -%}
                {%- do n_rows.append(n_rows[-1] + row['n']) -%}
            {%- else -%}
                {%- do chunks.append([row['day']]) -%}
                {%- do n_rows.append(row['n']) -%}
            {%- endif -%}
        {%- else -%}
            {%- do chunks.append([]) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(chunks | select | list) }}
{%- endmacro %}

{% macro write_chunk(sql, folder, partition_by, days) -%}
    {#- A single day is written to its file directly, which takes half the time of a partitioned write. -#}
    {%- do run_query("set variable first_day = date '" ~ days[0] ~ "'") -%}
    {%- do run_query("set variable last_day = date '" ~ days[-1] ~ "'") -%}
    {%- if days | length == 1 -%}
        {%- set place = made_folder(folder ~ '/' ~ partition_by ~ '=' ~ days[0]) -%}
    {%- endif -%}
    {%- call statement('main') -%}
        {%- if days | length == 1 %}
        copy (select * exclude ({{ partition_by }}) from ({{ sql }})) to {{ literal(place ~ '/data_0.parquet') }}
        (format parquet, compression zstd)
        {%- else %}
        copy ({{ sql }}) to {{ literal(folder) }}
        (format parquet, compression zstd, partition_by ({{ partition_by }}), overwrite_or_ignore true)
        {%- endif %}
    {%- endcall -%}
    {%- do run_query("reset variable first_day") -%}
    {%- do run_query("reset variable last_day") -%}
{%- endmacro %}
