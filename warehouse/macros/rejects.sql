{#- Lines that the CSV reader could not parse, and the limit on rejected rows. -#}

{% macro malformed_lines() -%}
    {#- The table that save_malformed_lines writes; int_malformed_lines is what later models read. -#}
    {{ return(api.Relation.create(database=target.get('database'), schema=target.schema, identifier='malformed_lines')) }}
{%- endmacro %}

{% macro clear_malformed_lines() -%} {{ return(adapter.dispatch('clear_malformed_lines')()) }} {%- endmacro %}
{% macro duckdb__clear_malformed_lines() -%} drop table if exists reject_errors; drop table if exists reject_scans; {%- endmacro %}

{% macro save_malformed_lines() -%} {{ return(adapter.dispatch('save_malformed_lines')()) }} {%- endmacro %}
{% macro duckdb__save_malformed_lines() -%}
    {#-
      DuckDB keeps them in temporary tables of the connection that read the file, so they are saved right after reading. Where a quote is
      never closed, so is the number of lines of the file, without its header.
    -#}
    {%- set found = execute and run_query("select 1 from duckdb_tables() where table_name = 'reject_errors' and temporary").rows -%}
    {%- if not (flags.EMPTY and is_incremental()) %}
    {{ 'insert into ' ~ malformed_lines() if is_incremental() else 'create or replace table ' ~ malformed_lines() ~ ' as' }}
    {%- if found %}
    select
        * exclude (file_path, is_open),
        case when is_open and row_number() over (partition by source_file, is_open order by source_line) = 1
            then cast(count_lines(file_path) as bigint) - 1 end as n_lines_of_file
    from (
        select
            {{ below_raw_dir('s.file_path') }} as source_file,
            cast(e.line as bigint) as source_line,
            any_value(e.error_message order by e.byte_position) as problem,
            any_value(left(e.csv_line, 500)) as line,
            s.file_path,
            bool_or(e.error_type in ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM')) as is_open
        from reject_errors as e
        inner join reject_scans as s using (scan_id, file_id)
        where {{ in_new_files(below_raw_dir('s.file_path')) }}
        group by all
    ) as problems
    {%- else %}
    select '' as source_file, 0::bigint as source_line, '' as problem, '' as line, 0::bigint as n_lines_of_file limit 0
    {%- endif %}
    {%- endif %}
{%- endmacro %}

{% macro line_ends(text) -%} length({{ text }}) - length(replace({{ text }}, chr(10), '')) {%- endmacro %}

{% macro earlier_events_repeat(plan, news) -%}
    {#-
      Why everything is judged again: of events alike the first by file name counts, so an event of a new file may turn one that was
      accepted before into a repeat.
    -#}
    {%- if news.files -%}
        {%- set parsed, new_files = ref_by_name('parsed_events'), "(" ~ quoted(news.files) ~ ")" -%}
        {%- set n_gone = run_query(
            "select count(*) from (select identity from " ~ parsed ~ " where identity in (select identity from " ~ parsed
            ~ " where unreadable_because is null and source_file in " ~ new_files ~ ") group by identity"
            ~ " having min(case when source_file in " ~ new_files ~ " then source_file end)"
            ~ " < min(case when source_file not in " ~ new_files ~ " then source_file end))").columns[0][0] | int -%}
        {{ return(n_gone ~ ' events read before repeat events of new raw files' if n_gone) }}
    {%- endif -%}
{%- endmacro %}

{% macro stop_if_too_many_rejected() -%}
    {%- if execute and not flags.EMPTY -%}
        {%- set n_rejected, n_raw = run_query("select (select count(*) from " ~ this ~ ") + n_taken_in, (select count(*) from "
            ~ ref('parsed_events') ~ ") + n_lines + n_taken_in from (select count(*) as n_lines, coalesce(sum(n_lines_taken_in), 0) as n_taken_in from "
            ~ ref('int_malformed_lines') ~ ") as malformed").rows[0].values() | map('int') -%}
        {%- if n_raw == 0 -%}
            {{ exceptions.raise_compiler_error("The files in " ~ raw_dir() ~ " hold no rows at all, only headers. Or all their lists of impressions are empty.") }}
        {%- endif -%}
        {%- set allowed = dataset_var('max_rejected_rate', var('max_rejected_rate')) -%}
        {%- if n_rejected == n_raw or n_rejected > allowed * n_raw -%}
            {%- set reasons = run_query("select concat(n, ' x ', reason) from (select reason, count(*) as n from " ~ this
                ~ " group by reason order by n desc, reason limit 5) as reasons order by n desc, reason").columns[0].values() -%}
            {{ exceptions.raise_compiler_error("%d of %d raw rows in %s (%.1f%%) were rejected; var max_rejected_rate allows %.1f%%. Most frequent: %s."
                " Table rejected_events has them all. Correct the log or its adapter, or allow more with --vars."
                % (n_rejected, n_raw, raw_dir(), 100.0 * n_rejected / n_raw, 100.0 * allowed, reasons | join('; '))) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
