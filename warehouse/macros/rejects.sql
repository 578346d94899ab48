{#- Lines that the CSV reader could not parse, and the limit on rejected rows. -#}

{% macro malformed_lines() -%}
    {{ return(api.Relation.create(database=target.get('database'), schema=target.schema, identifier='malformed_lines')) }}
{%- endmacro %}

{% macro clear_malformed_lines() -%}
    {{ return(adapter.dispatch('clear_malformed_lines')()) }}
{%- endmacro %}
{% macro duckdb__clear_malformed_lines() -%}
    drop table if exists reject_errors; drop table if exists reject_scans;
{%- endmacro %}

{% macro save_malformed_lines() -%}
    {#- DuckDB keeps them in temporary tables of the connection that read the file, so they are saved right after reading. -#}
    {{ return(adapter.dispatch('save_malformed_lines')()) }}
{%- endmacro %}
{% macro duckdb__save_malformed_lines() -%}
    {#-
      A quote that is never closed takes in the lines after it, at worst up to the end of the file, and DuckDB doesn't report how many
      (with several threads it may recover somewhere). So the lines of such a file are counted: a line that became neither a row
      nor a reject nor part of a text was taken in.
    -#}
    {%- set known = execute and run_query(
        "select count(*) from duckdb_tables() where table_name = 'reject_errors' and temporary").columns[0][0] -%}
    {%- if flags.EMPTY and is_incremental() -%}{{ return('') }}{%- endif -%}
    {{ 'insert into ' ~ malformed_lines() if is_incremental() else 'create or replace table ' ~ malformed_lines() ~ ' as' }}
    {%- if known %}
    select
        source_file,
        source_line,
        problem || case when n_lines_taken_in > 0 then ' It takes in up to ' || cast(n_lines_taken_in as varchar) || ' lines after it.' else '' end
            as problem,
        line,
        n_lines_taken_in
    from (
        select
            *,
            case
                when is_open and row_number() over (partition by source_file, is_open order by source_line) = 1
                    then greatest(0, cast(count_lines(file_path) as bigint) - 1 - count(*) over (partition by source_file) - coalesce(n_lines, 0))
                else 0
            end::bigint as n_lines_taken_in
        from (
            select
                s.file_path,
                {{ below_raw_dir('s.file_path') }} as source_file,
                cast(e.line as bigint) as source_line,
                any_value(e.error_message order by e.byte_position) as problem,
                any_value(left(e.csv_line, 500)) as line,
                bool_or(e.error_type in ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM')) as is_open
            from reject_errors as e
            inner join reject_scans as s using (scan_id, file_id)
            where {{ in_new_files(below_raw_dir('s.file_path')) }}
            group by all
        ) as problems
        left join (
            select
                source_file,
                max(source_row) + coalesce(sum({% for name in ['item_title', 'item_entities', 'user_texts'] -%}
                    {{ '+ ' if not loop.first }}coalesce({{ line_ends('cast(' ~ name ~ ' as varchar)') }}, 0){% endfor %}) filter (source_position = 1), 0) as n_lines
            from {{ this }}
            where source_file in (
                select {{ below_raw_dir('s.file_path') }} from reject_errors inner join reject_scans as s using (scan_id, file_id)
                where error_type in ('UNQUOTED VALUE', 'LINE SIZE OVER MAXIMUM'))
            group by source_file
        ) as rows_of_file using (source_file)
    ) as counted
    {%- else %}
    select cast(null as varchar) as source_file, cast(null as bigint) as source_line, cast(null as varchar) as problem,
        cast(null as varchar) as line, cast(null as bigint) as n_lines_taken_in
    limit 0
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
            ~ " having first(source_file in " ~ new_files ~ " order by source_file, source_row, source_position)"
            ~ " and bool_or(source_file not in " ~ new_files ~ "))").columns[0][0] | int -%}
        {{ return(n_gone ~ ' events read before repeat events of new raw files' if n_gone) }}
    {%- endif -%}
{%- endmacro %}

{% macro stop_if_too_many_rejected() -%}
    {%- if execute and not flags.EMPTY -%}
        {%- set lines = run_query("select count(*), coalesce(sum(n_lines_taken_in), 0) from " ~ malformed_lines()).rows[0] -%}
        {%- set n_taken_in = lines[1] | int -%}
        {%- set n_rejected = run_query("select count(*) from " ~ this).columns[0][0] | int + n_taken_in -%}
        {%- set n_raw = run_query("select count(*) from " ~ ref('parsed_events')).columns[0][0] | int + lines[0] | int + n_taken_in -%}
        {%- if n_raw == 0 -%}
            {{ exceptions.raise_compiler_error("The files in " ~ raw_dir() ~ " hold no rows at all, only headers. Or all their lists of impressions are empty.") }}
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
                ~ ". Table rejected_events has them all. Correct the log or its adapter, or allow more with --vars.") }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
