{#-
  Reading raw files: which files a pattern finds, which columns they have, and the scan that reads them as text. Every error
  names a file. On DuckDB the work is done by warehouse/reading (Python), on Spark by raw_files_spark.sql; one policy for both,
  docs/bring-your-own-log.md.

  A scan's rows have the columns asked for, as text or as nested text; `source_file`, the file's path below raw_dir; and
  `source_row`, counted from 1 in each file. Arguments that scans share:
    pattern      a glob below raw_dir, in any case; `*.csv` finds a.CSV and a.csv.gz too, `**/*.csv` looks into subfolders
    columns      names of columns that each file must have; files may have others, in any order
    remedy       what an error advises to do
    partitions   columns whose values are in folder names (`day=2024-01-05/`) instead of the files
-#}

{% macro raw_csv(pattern, columns, remedy, delim=',', quote='"', rename={}, header=none, partitions=[]) -%}
    {#-
      A scan of every CSV file that matches. `rename` maps a header's name to a column's; `header` lists the columns of files that
      have no header. A line that can't be parsed is stored by DuckDB (macros/rejects.sql); parsed_events saves such lines.
    -#}
    {{ return(raw_scan('csv', pattern, columns, remedy,
        {'delim': delim, 'quote': quote, 'rename': rename, 'header': header, 'partitions': partitions})) }}
{%- endmacro %}

{% macro raw_parquet(pattern, columns, remedy, partitions=[]) -%}
    {#- A scan of every Parquet file that matches. -#}
    {{ return(raw_scan('parquet', pattern, columns, remedy, {'partitions': partitions})) }}
{%- endmacro %}

{% macro raw_parts(columns, remedy, partitions=[]) -%}
    {#- A log in parts that are either all CSV or all Parquet. -#}
    {%- do source('raw', 'log') -%}
    {%- if not execute -%}{{ return("(select 1)") }}{%- endif -%}
    {%- set below = '**/' if partitions else '' -%}
    {%- set n_csv = n_raw_files(below ~ '*.csv') -%}
    {%- set n_parquet = n_raw_files(below ~ '*.parquet') -%}
    {%- if n_csv and n_parquet -%}
        {{ exceptions.raise_compiler_error(
            raw_dir() ~ " holds " ~ n_csv ~ " CSV and " ~ n_parquet ~ " Parquet files: which is the log? Move one kind away.") }}
    {%- endif -%}
    {{ return(raw_parquet(below ~ '*.parquet', columns, remedy, partitions) if n_parquet
        else raw_csv(below ~ '*.csv', columns, remedy, partitions=partitions)) }}
{%- endmacro %}

{% macro raw_scan(kind, pattern, columns, remedy, options) -%}
    {%- do source('raw', 'log') -%}
    {%- if not execute -%}{{ return("(select 1)") }}{%- endif -%}
    {%- set scan = local_md5(tojson([kind, pattern, options])) -%}
    {%- if model.as_full_build -%}{{ return("(" ~ scan ~ tojson(columns) ~ raw_dir() ~ reading_rules() ~ ")") }}{%- endif -%}
    {{ return("(" ~ adapter.dispatch('raw_scan')(scan, kind, pattern, columns, remedy, options) ~ ")") }}
{%- endmacro %}

{% macro duckdb__raw_scan(scan, kind, pattern, columns, remedy, options) -%}
    {%- set request = {'kind': kind, 'folder': raw_dir(), 'pattern': pattern, 'columns': columns, 'remedy': remedy,
        'partitions': options.partitions} -%}
    {%- if kind == 'csv' -%}{%- do request.update(options) -%}{%- endif -%}
    {%- if scan in model.get('raw_only', {}) -%}{%- do request.update({'only': model.raw_only[scan]}) -%}{%- endif -%}
    {%- set known = "select coalesce(json_group_object(file, json_array(size, modified_ns, columns)), '{}') from "
        ~ state_table('files') ~ " where scan = " ~ literal(scan) if has_state_table('files') else "select '{}'" -%}
    {%- set answer = fromjson(run_query("select raw_scan(" ~ literal(tojson(request)) ~ ", cast((" ~ known ~ ") as varchar))").columns[0][0]) -%}
    {%- if 'error' in answer -%}{{ exceptions.raise_compiler_error(answer.error) }}{%- endif -%}
    {#- Used by the plan of parsed_events (macros/refresh.sql). -#}
    {%- if model.get('raw_scans') is not none -%}{%- do model.raw_scans.update({scan: answer}) -%}{%- endif -%}
    {{ return(answer.sql) }}
{%- endmacro %}

{% macro n_raw_files(pattern) -%} {{ return(adapter.dispatch('n_raw_files')(pattern)) }} {%- endmacro %}
{% macro duckdb__n_raw_files(pattern) -%}
    {{ return(run_query("select count_files(" ~ literal(raw_dir()) ~ ", " ~ literal(pattern) ~ ")").columns[0][0] | int) }}
{%- endmacro %}

{% macro reading_rules() -%}
    {#- Part of the fingerprint: when the rules for reading values change, everything is read again. -#}
    {{ return(run_query("select reading_rules('')").columns[0][0]) }}
{%- endmacro %}

{% macro below_raw_dir(path) -%}
    {#- SQL: a file's path below raw_dir, from DuckDB's path of it. -#}
    substr({{ path }}, length(place_of({{ literal(raw_dir()) }})) + 2)
{%- endmacro %}

{% macro adapter_rows() -%}
    {#-
      The rows of the adapter, as a subquery of its SQL rather than of its view: a refresh reads only the new files, and exactly those
      that were found when the plan was made. On Spark, which has no refresh, the view.
    -#}
    {%- set source = ref('src_' ~ adapter_name()) -%}
    {%- if not execute or target.type != 'duckdb' -%}{{ return(source) }}{%- endif -%}
    {%- if model.as_full_build -%}{{ return(full_build_sql_of(source)) }}{%- endif -%}
    {%- if refresh_plan().mode == 'none' -%}{{ return(source) }}{%- endif -%}
    {%- do model.update({'raw_only': refresh_plan().get('only', {})}) -%}
    {%- set text = render(node_of(source).raw_code) -%}
    {%- do model.update({'raw_only': {}}) -%}
    {{ return("(" ~ text ~ ")") }}
{%- endmacro %}

{% macro node_of(relation) -%}
    {%- for node in graph.nodes.values() if node.relation_name == relation | string -%}{{ return(node) }}{%- endfor -%}
{%- endmacro %}

{% macro read_files_in_parallel(yes) -%}
    {#-
      Row numbers keep the scan of a CSV file on one thread, and `union all` reads file after file as long as the order of rows must be
      kept. It needn't be: within a file rows are numbered in their order either way.
    -#}
    {{ return(adapter.dispatch('read_files_in_parallel')(yes)) }}
{%- endmacro %}
{% macro duckdb__read_files_in_parallel(yes) -%}
    {{ 'set preserve_insertion_order = false' if yes else 'reset preserve_insertion_order' }}
{%- endmacro %}
