{#- Reading raw files: finds them, checks their columns, and only then builds the scan. Every complaint names a file. -#}

{% macro raw_files(pattern, remedy) -%}
    {#- Paths under raw_dir that match, as a list; an error if there are none or one of them is empty. -#}
    {%- set sizes = found_files(pattern) -%}
    {%- if not sizes -%}
        {{ exceptions.raise_compiler_error("No raw file matches " ~ raw_dir() ~ '/' ~ pattern ~ ". " ~ remedy) }}
    {%- endif -%}
    {%- for file, size in sizes.items() if size == 0 -%}
        {{ exceptions.raise_compiler_error("Raw file " ~ file ~ " is empty (0 bytes). " ~ remedy) }}
    {%- endfor -%}
    {{ return(sizes.keys() | list) }}
{%- endmacro %}

{% macro found_files(pattern) -%}
    {#- The files under raw_dir that match, as {path: bytes}, in the order of their names. -#}
    {{ return(adapter.dispatch('found_files')(pattern)) }}
{%- endmacro %}

{% macro duckdb__found_files(pattern) -%}
    {%- set path = literal(raw_dir() ~ '/' ~ pattern) -%}
    {%- set sizes = {} -%}
    {%- for file in fromjson(run_query("select taken_for_patterns(" ~ literal(raw_dir()) ~ ", " ~ literal(pattern) ~ ")").columns[0][0]) -%}
        {{ exceptions.raise_compiler_error(
            "Raw file " ~ file ~ " has one of * ? [ ] \\ in its path, which stand for other names in a pattern. Rename it.") }}
    {%- endfor -%}
    {%- if run_query("select count(*) from glob(" ~ path ~ ")").columns[0][0] -%}
        {%- for row in run_query("select filename, size from read_blob(" ~ path ~ ") order by filename").rows -%}
            {%- do sizes.update({row['filename']: row['size']}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(sizes) }}
{%- endmacro %}

{% macro named_columns(first_line, delim, quote, rename) -%}
    {#- The column names in the first line of a CSV file, renamed, as a list. -#}
    {%- set header = [] -%}
    {%- for name in first_line.split(delim) -%}
        {%- set name = name.strip().strip(quote) if quote else name.strip() -%}
        {%- do header.append(rename.get(name, name)) -%}
    {%- endfor -%}
    {{ return(header) }}
{%- endmacro %}

{% macro require_columns(file, found, expected, remedy) -%}
    {%- set missing = expected | reject('in', found) | list -%}
    {%- if missing -%}
        {{ exceptions.raise_compiler_error(
            "Raw file " ~ file ~ " lacks the column" ~ ('s ' if missing | length > 1 else ' ') ~ missing | join(', ')
            ~ ". Its first line has " ~ found | length ~ ": " ~ found[:12] | join(', ') ~ (', ...' if found | length > 12)
            ~ ". " ~ remedy) }}
    {%- endif -%}
{%- endmacro %}

{% macro name_of(file) -%}
    {#- A constant, so that a filter on source_file leaves whole files unread. A fingerprint doesn't tell files of a kind apart. -#}
    {{ return('any' if model.is_whole else file.split('/')[-1]) }}
{%- endmacro %}

{% macro raw_csv(pattern, columns, remedy, delim=',', quote='"', rename={}) -%}
    {#-
      A scan of every CSV file that matches: the named columns as text, plus source_file (the file's name) and source_row
      (counted from 1; numbered in the scan itself, since a join further on may reorder rows). Files may order their columns differently and carry more of them. `rename` maps a header's name to a column's.
      A line that isn't a row is kept aside (macros/rejects.sql); parsed_events saves what was.
    -#}
    {%- do source('raw', 'log') -%}
    {%- if not execute -%}{{ return("(select 1)") }}{%- endif -%}
    {{ return(adapter.dispatch('raw_csv')(pattern, columns, remedy, delim, quote, rename)) }}
{%- endmacro %}

{% macro duckdb__raw_csv(pattern, columns, remedy, delim, quote, rename) -%}
    {%- set scans = [] -%}
    {%- for file in raw_files(pattern, remedy) -%}
        {%- set name = name_of(file) -%}
        {%- set first_line = run_query("select first_line(" ~ literal(file) ~ ")").columns[0][0] -%}
        {%- set header = named_columns(first_line, delim, quote, rename) -%}
        {{ require_columns(file, header, columns, remedy) }}
        {%- set types = [] -%}
        {%- for name in header -%}{%- do types.append(literal(name) ~ ": 'varchar'") -%}{%- endfor -%}
        {%- do scans.append(
            "select " ~ columns | join(', ') ~ ", " ~ literal(name) ~ " as source_file, row_number() over () as source_row"
            ~ " from read_csv(" ~ literal(name if model.is_whole else file) ~ ", header = true, auto_detect = false, columns = {" ~ types | join(', ')
            ~ "}, delim = " ~ literal(delim) ~ ", quote = " ~ literal(quote) ~ ", escape = " ~ literal(quote)
            ~ ", store_rejects = true, rejects_limit = 0)") -%}
    {%- endfor -%}
    {{ return("(" ~ scans | unique | join(" union all ") ~ ")") }}
{%- endmacro %}

{% macro raw_parquet(pattern, columns, remedy) -%}
    {#- A scan of every Parquet file that matches: the named columns, plus source_file and source_row. -#}
    {%- do source('raw', 'log') -%}
    {%- if not execute -%}{{ return("(select 1)") }}{%- endif -%}
    {{ return(adapter.dispatch('raw_parquet')(pattern, columns, remedy)) }}
{%- endmacro %}

{% macro duckdb__raw_parquet(pattern, columns, remedy) -%}
    {%- set scans = [] -%}
    {%- for file in raw_files(pattern, remedy) -%}
        {%- set name = name_of(file) -%}
        {%- set found = run_query("select column_name from (describe select * from read_parquet(" ~ literal(file) ~ "))") -%}
        {{ require_columns(file, found.columns[0].values() | list, columns, remedy) }}
        {%- do scans.append(
            "select " ~ columns | join(', ') ~ ", " ~ literal(name) ~ " as source_file, file_row_number + 1 as source_row"
            ~ " from read_parquet(" ~ literal(name if model.is_whole else file) ~ ", file_row_number = true)") -%}
    {%- endfor -%}
    {{ return("(" ~ scans | unique | join(" union all ") ~ ")") }}
{%- endmacro %}

{% macro raw_parts(columns, remedy) -%}
    {#- A log in parts that are either all CSV or all Parquet. -#}
    {%- do source('raw', 'log') -%}
    {%- if not execute -%}{{ return("(select 1)") }}{%- endif -%}
    {%- set n_csv = found_files('*.csv') | length -%}
    {%- set n_parquet = found_files('*.parquet') | length -%}
    {%- if n_csv and n_parquet -%}
        {{ exceptions.raise_compiler_error(
            raw_dir() ~ " holds " ~ n_csv ~ " CSV and " ~ n_parquet ~ " Parquet files: which is the log? Move one kind away.") }}
    {%- endif -%}
    {{ return(raw_parquet('*.parquet', columns, remedy) if n_parquet else raw_csv('*.csv', columns, remedy)) }}
{%- endmacro %}

{% macro read_files_side_by_side(yes) -%}
    {#-
      Row numbers keep the scan of a CSV file on one thread, and the rows of `union all` come file by file as long as their order
      has to be kept. It doesn't: within a file rows are numbered as they stand there all the same.
    -#}
    {{ return(adapter.dispatch('read_files_side_by_side')(yes)) }}
{%- endmacro %}
{% macro duckdb__read_files_side_by_side(yes) -%}
    {{ 'set preserve_insertion_order = false' if yes else 'reset preserve_insertion_order' }}
{%- endmacro %}
