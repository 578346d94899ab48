{#-
  raw_files.sql on Spark, which reads files through tables of its catalogue. Paths may be hdfs:// or s3a://; a relative
  one is a path of this machine. Rows are numbered as DuckDB numbers them: from 1 in each file, only rows that are rows.
-#}

{% macro absolute_path(path) -%}
    {#- Spark takes a table's relative location as below its warehouse folder; ours are below the folder dbt runs in. -#}
    {%- if path.startswith('/') or ':/' in path -%}{{ return(path) }}{%- endif -%}
    {{ return('file:' ~ run_query("select reflect('java.lang.System', 'getProperty', 'user.dir')").columns[0][0] ~ '/' ~ path) }}
{%- endmacro %}

{% macro spark__found_files(pattern) -%}
    {#- A table, since Spark lists a folder that isn't there as an empty table but fails on it as a path. -#}
    {%- set files = api.Relation.create(schema=target.schema, identifier='raw__files') -%}
    {%- do run_query("drop table if exists " ~ files) -%}
    {%- do run_query("create table " ~ files ~ " using binaryFile options (path " ~ literal(absolute_path(raw_dir())) ~ ")") -%}
    {%- set wanted = modules.re.compile('^' ~ modules.re.escape(pattern).replace('\\*', '.*').replace('\\?', '.') ~ '$') -%}
    {%- set sizes = {} -%}
    {%- for row in run_query("select _metadata.file_name as name, length from " ~ files ~ " order by name").rows
        if wanted.match(row['name']) -%}
        {%- do sizes.update({raw_dir() ~ '/' ~ row['name']: row['length'] | int}) -%}
    {%- endfor -%}
    {{ return(sizes) }}
{%- endmacro %}

{% macro spark__raw_csv(pattern, columns, remedy, delim, quote, rename) -%}
    {%- set names_of = {} -%}
    {%- for file in raw_files(pattern, remedy) -%}
        {%- set first = run_query("select value from text.`" ~ absolute_path(file) | replace('`', '``')
            ~ "` where _metadata.file_block_start = 0 limit 1") -%}
        {%- set first_line = (first.columns[0][0] if first.rows else '') | replace('\ufeff', '') -%}
        {%- set header = named_columns(first_line, delim, quote, rename) -%}
        {{ require_columns(file, header, columns, remedy) }}
        {%- do names_of.setdefault(header | tojson, []).append(file.split('/')[-1]) -%}
    {%- endfor -%}
    {#- Files with the same header are one table; a log of a thousand parts is then one scan. -#}
    {%- set scans = [] -%}
    {%- for header, names in names_of.items() -%}
        {%- set table = 'raw__' ~ modules.re.sub('[^a-z0-9]', '', pattern | lower) ~ '_' ~ loop.index -%}
        {%- set path = absolute_path(raw_dir()) ~ '/' ~ (pattern if names_of | length == 1 else '{' ~ names | join(',') ~ '}') -%}
        {%- do scans.append(registered_csv(table, path, fromjson(header), columns, delim, quote)) -%}
    {%- endfor -%}
    {{ return("(" ~ scans | join(" union all ") ~ ")") }}
{%- endmacro %}

{% macro registered_csv(table, path, header, columns, delim, quote) -%}
    {#-
      Registers the files under `path` as a table, the lines in it that are no rows as the view malformed_<table>, and
      returns the select of the rows. All columns of the file are read: Spark counts a line's fields only then.
    -#}
    {%- set raw = api.Relation.create(schema=target.schema, identifier=table) -%}
    {%- set names = [] -%}
    {%- for name in header -%}
        {%- do names.append(name if name in columns and name not in header[:loop.index0] else '_column_' ~ loop.index) -%}
    {%- endfor -%}
    {%- do run_query("drop table if exists " ~ raw) -%}
    {%- do run_query("create table " ~ raw ~ " (" ~ names | join(' string, ') ~ " string, _no_row string) using csv options ("
        ~ "path " ~ literal(path) ~ ", header 'true', enforceSchema 'true', encoding 'UTF-8', mode 'PERMISSIVE', "
        ~ "columnNameOfCorruptRecord '_no_row', columnPruning 'false', multiLine '" ~ ('true' if quote else 'false') ~ "', "
        ~ "sep " ~ literal(delim) ~ ", quote " ~ literal(quote) ~ ", escape " ~ literal(quote) ~ ")") -%}

    {%- set located = "_metadata.file_name as source_file, _metadata.file_block_start as block_start, "
        ~ "monotonically_increasing_id() as position" -%}
    {%- set numbered = "row_number() over (partition by source_file order by block_start, position)" -%}
    {#- Bytes that are no UTF-8 are read as U+FFFD, and would pass for text. -#}
    {%- set garbled = "contains(concat_ws('', " ~ names | join(', ') ~ "), '\\ufffd')" -%}
    {%- set unquoted = "regexp_replace(line, '\"[^\"]*\"', '')" if quote else "line" -%}
    {%- set n_found = "1 + (length(" ~ unquoted ~ ") - length(replace(" ~ unquoted ~ ", " ~ literal(delim) ~ ", ''))) div "
        ~ delim | length -%}
    {%- do run_query("create or replace view " ~ raw.incorporate(path={'identifier': 'malformed_' ~ table}) ~ " as "
        ~ "select source_file, cast(source_line as bigint) as source_line, case when is_short_or_long then "
        ~ "concat('Expected Number of Columns: " ~ header | length ~ " Found: ', least(" ~ n_found ~ ", "
        ~ (header | length + 1) ~ ")) else 'Invalid unicode (byte sequence mismatch) detected. This file is not utf-8 encoded.' end as problem, left(line, 500) as line, "
        ~ "cast(" ~ line_ends("rtrim('\\r\\n', line)") ~ " as bigint) as n_lines_taken_in from ("
        ~ "select source_file, " ~ numbered ~ " + 1 as source_line, is_short_or_long, line from ("
        ~ "select " ~ located ~ ", _no_row is not null as is_short_or_long, coalesce(_no_row, case when " ~ garbled
        ~ " then replace(concat_ws(" ~ literal(delim) ~ ", " ~ names | join(', ') ~ "), '\\ufffd', '?') end) as line from " ~ raw ~ "))"
        ~ " where line is not null") -%}
    {{ return("select " ~ columns | join(', ') ~ ", source_file, cast(" ~ numbered ~ " as bigint) as source_row from ("
        ~ "select " ~ columns | join(', ') ~ ", " ~ located ~ " from " ~ raw ~ " where _no_row is null and not " ~ garbled
        ~ ")") }}
{%- endmacro %}

{% macro spark__raw_parquet(pattern, columns, remedy) -%}
    {%- for file in raw_files(pattern, remedy) -%}
        {%- set found = run_query("select * from parquet.`" ~ absolute_path(file) | replace('`', '``') ~ "` limit 0") -%}
        {{ require_columns(file, found.column_names | list, columns, remedy) }}
    {%- endfor -%}
    {{ return("(select " ~ columns | join(', ') ~ ", _metadata.file_name as source_file, _metadata.row_index + 1 as source_row"
        ~ " from parquet.`" ~ absolute_path(raw_dir() ~ '/' ~ pattern) | replace('`', '``') ~ "`)") }}
{%- endmacro %}

{% macro spark__forget_malformed_lines() -%} {%- endmacro %}
{% macro spark__read_files_side_by_side(yes) -%} {%- endmacro %}

{% macro spark__save_malformed_lines() -%}
    {#- From the views that registered_csv made, but only of tables that the source model of now reads. -#}
    {%- if execute -%}
        {%- set source = ref('src_' ~ adapter_name()) -%}
        {%- set text = run_query("show create table " ~ source).columns[0][0] -%}
        {%- set lines = [] -%}
        {%- for row in run_query("show views in " ~ target.schema ~ " like 'malformed_raw__*'").rows
            if row['viewName'] | replace('malformed_', '') in text -%}
            {%- do lines.append("select * from " ~ target.schema ~ "." ~ row['viewName']) -%}
        {%- endfor -%}
        {%- do run_query("drop table if exists " ~ malformed_lines()) -%}
        create table {{ malformed_lines() }} using parquet as
        {{ lines | join(" union all ") if lines else
            "select cast(null as string) as source_file, cast(null as bigint) as source_line, cast(null as string) as problem,
            cast(null as string) as line, cast(null as bigint) as n_lines_taken_in where false" }}
    {%- endif -%}
{%- endmacro %}
