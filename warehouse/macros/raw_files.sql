{#-
  Reading raw files: which files a pattern finds, which columns they have, and the scan that reads them as text. Every error
  names a file. The work is done in Python: warehouse/reading, and for Spark's tables warehouse/spark/scans.py; docs/bring-your-own-log.md.

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
    {{ return(raw_scan('parts', '**/*' if partitions else '*', columns, remedy, {'partitions': partitions})) }}
{%- endmacro %}

{% macro raw_scan(kind, pattern, columns, remedy, options) -%}
    {#-
      A view over the files that the model raw_files found. While dbt parses the adapter, its config meta notes which files the adapter
      wants; raw_files looks for those and makes the view.
    -#}
    {%- do ref('raw_files') -%}
    {%- set scan = local_md5(tojson([kind, pattern, columns, options])) -%}
    {%- set request = dict(options, kind=kind, pattern=pattern, columns=columns, remedy=remedy) -%}
    {%- do config(meta={'scan_' ~ scan: request}) -%}
    {{ return(scan_view(scan)) }}
{%- endmacro %}

{% macro scan_view(scan) -%}
    {{ return(api.Relation.create(database=target.get('database'), schema=target.schema, identifier='raw_scan_' ~ scan[:12])) }}
{%- endmacro %}

{% macro adapter_scans() -%}
    {#- What the adapter wants to read, by scan. -#}
    {%- set scans = {} -%}
    {%- for node in graph.nodes.values() if node.name == 'src_' ~ adapter_name() and node.resource_type == 'model' -%}
        {%- for name, request in node.config.meta.items() if name.startswith('scan_') -%}
            {%- do scans.update({name[5:]: dict(request, folder=raw_dir())}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(scans) }}
{%- endmacro %}

{% macro found_raw_files() -%}
    {#- SQL: the files of the raw folder as JSON, or an error. The rules for reading values are part of it: other rules read everything again. -#}
    {%- do source('raw', 'log') -%}
    {%- if not execute -%}{{ return("''") }}{%- endif -%}
    {{ return(adapter.dispatch('found_raw_files')()) }}
{%- endmacro %}
{% macro duckdb__found_raw_files() -%}
    {%- set known = "(select coalesce(json_group_array(json_array(scan, file, size, modified_ns, columns)), '[]') from " ~ this
        ~ " where scan is not null)" if is_incremental() else literal('[]') -%}
    find_raw_files({{ literal(tojson(adapter_scans())) }}, cast({{ known }} as varchar)) /* rules {{ reading_rules() }} */
{%- endmacro %}

{% macro rows_of_json(json, types) -%}
    {#- A select of the rows of a JSON list of objects; what isn't a list is an error's text. -#}
    {{ adapter.dispatch('rows_of_json')(json, types) }}
{%- endmacro %}
{% macro duckdb__rows_of_json(json, types) -%}
    select unnest(from_json(
        case when starts_with(answer, '[') then answer else error(answer) end, {{ literal(tojson([types])) }}
    ), recursive := true)
    from (select {{ json }} as answer) as answered
{%- endmacro %}

{% macro make_scan_views() -%}
    {#- With --empty only those that are missing. -#}
    {{ return(adapter.dispatch('make_scan_views')()) }}
{%- endmacro %}
{% macro duckdb__make_scan_views() -%}
    {%- if execute -%}
        {%- for scan, request in adapter_scans().items() if not flags.EMPTY or load_relation(scan_view(scan)) is none -%}
            {%- set files = run_query("select cast(coalesce(json_group_array(json_array(file, columns)), '[]') as varchar) from " ~ this
                ~ " where scan = " ~ literal(scan) ~ " and reason is null").columns[0][0] -%}
            create or replace view {{ scan_view(scan) }} as
            {{ run_query("select scan_sql(" ~ literal(tojson(request)) ~ ", " ~ literal(files) ~ ")").columns[0][0] }};
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{% macro reading_rules() -%} {{ return(adapter.dispatch('reading_rules')()) }} {%- endmacro %}
{% macro duckdb__reading_rules() -%} {{ return(run_query("select reading_rules('')").columns[0][0]) }} {%- endmacro %}

{% macro raw_files_are_read_again(plan, news) -%}
    {#-
      Why all raw files are read again: one has changed or is gone, or a new one holds no events. A lookup's rows may affect events of
      other files. Which scans hold events is judged by the files read so far.
    -#}
    {%- set oldest = run_query("select min(load) from " ~ ref_by_name('raw_files') ~ " where reason is null").columns[0][0] | int -%}
    {%- if oldest > plan.since -%}
        {%- set files = run_query("select change, file from " ~ ref_by_name('raw_files') ~ " where change in ('changed', 'gone') and load > "
            ~ plan.since ~ " order by change, file").rows -%}
        {%- if not files -%}{{ return('raw files changed') }}{%- endif -%}
        {{ return('raw file ' ~ raw_dir() ~ '/' ~ files[0]['file'] ~ (' changed' if files[0]['change'] == 'changed' else ' is gone')
            ~ (', and ' ~ (files | length - 1) ~ ' more' if files | length > 1 else '')) }}
    {%- endif -%}
    {%- if news.files -%}
        {%- set lookups = run_query("select file from " ~ ref_by_name('raw_files') ~ " where reason is null and load > " ~ plan.since
            ~ " and scan not in (select scan from " ~ ref_by_name('raw_files') ~ " where file in (select source_file from " ~ this
            ~ ")) order by file limit 1").rows -%}
        {{ return('new raw file ' ~ raw_dir() ~ '/' ~ lookups[0]['file'] ~ ' holds no events, so it may affect any of them' if lookups) }}
    {%- endif -%}
{%- endmacro %}

{% macro below_raw_dir(path) -%}
    {#- SQL: a file's path below raw_dir, from DuckDB's path of it. -#}
    substr({{ path }}, length(place_of({{ literal(raw_dir()) }})) + 2)
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
