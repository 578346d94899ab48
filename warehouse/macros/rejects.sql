{#- Lines that the CSV reader could not make a row of, and the limit on rejected rows. -#}

{% macro malformed_lines() -%}
    {{ return(api.Relation.create(database=target.get('database'), schema=target.schema, identifier='malformed_lines')) }}
{%- endmacro %}

{% macro forget_malformed_lines() -%}
    {{ return(adapter.dispatch('forget_malformed_lines')()) }}
{%- endmacro %}
{% macro duckdb__forget_malformed_lines() -%}
    drop table if exists reject_errors; drop table if exists reject_scans;
{%- endmacro %}

{% macro save_malformed_lines() -%}
    {#- DuckDB keeps them in temporary tables of the connection that read the file, so they are saved right after. -#}
    {{ return(adapter.dispatch('save_malformed_lines')()) }}
{%- endmacro %}
{% macro duckdb__save_malformed_lines() -%}
    {%- set known = execute and run_query(
        "select count(*) from duckdb_tables() where table_name = 'reject_errors' and temporary").columns[0][0] -%}
    {%- set mode = refresh_plan().mode -%}
    {{ 'create or replace table ' ~ malformed_lines() ~ ' as' if mode == 'full' else 'insert into ' ~ malformed_lines() }}
    {%- if known and mode != 'none' %}
    select parse_filename(s.file_path) as source_file, cast(e.line as bigint) as source_line,
        any_value(e.error_message || {{ lines_taken_in('e.csv_line') }} order by e.byte_position) as problem, any_value(left(e.csv_line, 500)) as line
    from reject_errors as e
    inner join reject_scans as s using (scan_id, file_id)
    where {{ in_new_files('parse_filename(s.file_path)') }}
    group by all
    {%- else %}
    select cast(null as varchar) as source_file, cast(null as bigint) as source_line, cast(null as varchar) as problem,
        cast(null as varchar) as line
    limit 0
    {%- endif %}
{%- endmacro %}

{% macro lines_taken_in(line) -%}
    {#- What a quote that is never closed takes with it: everything up to the end of the file is one value. -#}
    {%- set n_lines = "length(rtrim(" ~ line ~ ", chr(10) || chr(13))) - length(replace(rtrim(" ~ line
        ~ ", chr(10) || chr(13)), chr(10), ''))" -%}
    case when {{ n_lines }} > 0 then ' It takes in the ' || cast({{ n_lines }} as varchar) || ' lines after it.' else '' end
{%- endmacro %}

{% macro stop_if_too_many_rejected() -%}
    {%- if execute -%}
        {%- set n_rejected = run_query("select count(*) from " ~ this).columns[0][0] | int -%}
        {%- set n_raw = run_query("select (select count(*) from " ~ ref('parsed_events') ~ ") + (select count(*) from "
            ~ malformed_lines() ~ ")").columns[0][0] | int -%}
        {%- if n_raw == 0 -%}
            {{ exceptions.raise_compiler_error("The files in " ~ raw_dir() ~ " hold no rows at all, only headers.") }}
        {%- endif -%}
        {%- set allowed = dataset_var('max_rejected_rate', var('max_rejected_rate')) -%}
        {%- if n_rejected == n_raw or n_rejected > allowed * n_raw -%}
            {%- set reasons = [] -%}
            {%- for row in run_query("select reason, count(*) as n from " ~ this
                ~ " group by reason order by n desc, reason limit 5").rows -%}
                {%- do reasons.append(row['n'] ~ " x " ~ row['reason']) -%}
            {%- endfor -%}
            {{ exceptions.raise_compiler_error(
                n_rejected ~ " of " ~ n_raw ~ " raw rows in " ~ raw_dir() ~ " (" ~ '%.1f' % (100.0 * n_rejected / n_raw)
                ~ "%) were rejected; var max_rejected_rate allows " ~ '%.1f' % (100.0 * allowed)
                ~ "%. Most frequent: " ~ reasons | join('; ')
                ~ ". Table rejected_events has them all. Mend the log or its adapter, or allow more with --vars.") }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
