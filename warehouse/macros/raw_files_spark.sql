{#-
  raw_files.sql on Spark, which reads files through tables of its catalogue. Paths may be hdfs:// or s3a://; a relative path is
  one of this machine. Rows are numbered as on DuckDB: from 1 in each file, without lines that can't be parsed.
-#}

{% macro absolute_path(path) -%}
    {#- Spark takes a table's relative location as below its warehouse folder; ours are below the project's folder. -#}
    {%- if path.startswith('/') or ':/' in path -%}{{ return(path) }}{%- endif -%}
    {%- set project = invocation_args_dict.project_dir | string -%}
    {%- if not project.startswith('/') -%}
        {%- set project = run_query("select reflect('java.lang.System', 'getProperty', 'user.dir')").columns[0][0] ~ '/' ~ project -%}
    {%- endif -%}
    {#- Without `..`: the paths that Spark gives files have none. -#}
    {%- set parts = [] -%}
    {%- for part in (project ~ '/' ~ path).split('/') if part not in ('', '.') -%}
        {%- if part == '..' -%}{%- do parts.pop() -%}{%- else -%}{%- do parts.append(part) -%}{%- endif -%}
    {%- endfor -%}
    {{ return('file:/' ~ parts | join('/')) }}
{%- endmacro %}

{% macro spark__raw_parts(columns, remedy, partitions, pattern) -%}
    {%- do source('raw', 'log') -%}
    {%- if not execute -%}{{ return("(select 1)") }}{%- endif -%}
    {%- set n_csv = n_raw_files(pattern ~ '.csv') -%}
    {%- set n_parquet = n_raw_files(pattern ~ '.parquet') -%}
    {%- if n_csv and n_parquet -%}
        {{ exceptions.raise_compiler_error(
            raw_dir() ~ " holds " ~ n_csv ~ " CSV and " ~ n_parquet ~ " Parquet files: which is the log? Move one kind away.") }}
    {%- endif -%}
    {{ return(raw_parquet(pattern ~ '.parquet', columns, remedy, partitions) if n_parquet
        else raw_csv(pattern ~ '.csv', columns, remedy, partitions=partitions)) }}
{%- endmacro %}

{% macro spark__raw_scan(scan, kind, pattern, columns, remedy, options) -%}
    {#- Files with the same header, or the same types, become one table, so a log of a thousand parts is one scan. -#}
    {%- do source('raw', 'log') -%}
    {%- if not execute -%}{{ return("(select 1)") }}{%- endif -%}
    {%- set groups, seen = {}, {} -%}
    {%- for path, size in raw_files_of(scan, pattern, remedy, options.partitions).items() -%}
        {%- set file = raw_dir() ~ '/' ~ path -%}
        {%- set found = header_of(file, path, remedy, options) if kind == 'csv' else parquet_columns(path, columns) -%}
        {%- do check_raw_columns(file, found, columns, remedy, options.partitions) -%}
        {%- if kind == 'parquet' -%}{%- do check_raw_types(file, found, columns, seen, remedy) -%}{%- endif -%}
        {%- do groups.setdefault(found | tojson, []).append(path) -%}
    {%- endfor -%}
    {%- set scans = [] -%}
    {%- for found, paths in groups.items() -%}
        {%- set table = 'raw__' ~ scan[:8] ~ '_' ~ loop.index -%}
        {%- do scans.append(registered_csv(table, paths, fromjson(found), columns, options) if kind == 'csv'
            else registered_parquet(table, paths, fromjson(found), columns, options.partitions, seen)) -%}
    {%- endfor -%}
    {{ return("(" ~ scans | join(" union all ") ~ ")") }}
{%- endmacro %}

{% macro raw_root() -%}
    {#- raw_dir as the paths of its files have it, without the scheme and host that Spark adds. -#}
    {{ return(modules.re.sub('^file:/+', '/', absolute_path(raw_dir())).rstrip('/')) }}
{%- endmacro %}

{% macro below_root(path) -%}
    {#- SQL: a file's path below raw_dir, from _metadata.file_path, which is a URI. -#}
    {%- set decoded = "url_decode(replace(" ~ path ~ ", '+', '%2B'))" -%}
    {%- set root = literal(raw_root() ~ '/') -%}
    {{ return("substr(" ~ decoded ~ ", locate(" ~ root ~ ", " ~ decoded ~ ") + length(" ~ root ~ "))") }}
{%- endmacro %}

{% macro listed_files() -%}
    {#- {path below raw_dir: bytes} of all files but hidden ones, which Spark doesn't list, in the order of their paths. -#}
    {%- set kept = load_result('listed_files') -%}  {#- one listing per model -#}
    {%- if kept -%}
        {%- do store_result('listed_files', response=kept.response) -%}
        {{ return(kept.response) }}
    {%- endif -%}
    {#- A table, since Spark lists a folder that isn't there as an empty table but fails on it as a path. -#}
    {%- set files = api.Relation.create(schema=target.schema, identifier='raw__files') -%}
    {%- do run_query("drop table if exists " ~ files) -%}
    {%- do run_query("create table " ~ files ~ " using binaryFile options (path " ~ literal(absolute_path(raw_dir()))
        ~ ", recursiveFileLookup 'true')") -%}
    {%- set sizes = {} -%}
    {%- for row in run_query("select " ~ below_root('_metadata.file_path') ~ " as path, length from " ~ files ~ " order by path").rows -%}
        {%- do sizes.update({row['path']: row['length'] | int}) -%}
    {%- endfor -%}
    {%- do store_result('listed_files', response=sizes) -%}
    {{ return(sizes) }}
{%- endmacro %}

{% macro glob_regex(pattern) -%}
    {#- A glob as storage/listing.py reads it. -#}
    {%- set parts = [] -%}
    {%- for part in pattern.split('/') -%}
        {%- set text = modules.re.escape(part).replace('\\*', '[^/]*').replace('\\?', '[^/]').replace('\\[!', '[^').replace('\\[', '[').replace('\\]', ']') -%}
        {%- do parts.append(('.*' if loop.last else '(?:[^/]+/)*') if part == '**' else text ~ ('' if loop.last else '/')) -%}
    {%- endfor -%}
    {{ return(modules.re.compile('(?is)^' ~ parts | join('') ~ '$')) }}
{%- endmacro %}

{% macro unread_reason(path, pattern) -%}
    {#- Why a file isn't read; empty if it is. -#}
    {%- set wanted = glob_regex(pattern) -%}
    {%- set packed = modules.re.search('(?i)[.](gz|zst|bz2|xz|zip|lz4|snappy)$', path) -%}
    {%- set plain = path[:packed.start()] if packed else path -%}
    {%- if not wanted.match(path) and not wanted.match(plain) -%}{{ return('does not match ' ~ pattern) }}{%- endif -%}
    {%- if packed and plain.lower().endswith('.parquet') -%}
        {{ return('Parquet compressed as a whole (decompress it: Parquet compresses by itself)') }}
    {%- elif packed and not path.endswith('.gz') -%}
        {{ return("compressed in a way that Spark can't read (compress it as .gz, in small letters, or not at all)") }}
    {%- endif -%}
    {{ return('') }}
{%- endmacro %}

{% macro raw_files_of(scan, pattern, remedy, partitions) -%}
    {#- {path below raw_dir: bytes} of the files that match; the others are recorded for the end of the build. -#}
    {%- set sizes, unread = {}, [] -%}
    {%- for path, size in listed_files().items() -%}
        {%- set reason = unread_reason(path, pattern) -%}
        {%- if reason -%}{%- do unread.append([path, reason]) -%}{%- else -%}{%- do sizes.update({path: size}) -%}{%- endif -%}
    {%- endfor -%}
    {%- do record_unread(scan, unread) -%}
    {%- if not sizes -%}
        {{ exceptions.raise_compiler_error("No raw file matches " ~ raw_dir() ~ '/' ~ pattern ~ ". " ~ remedy) }}
    {%- endif -%}
    {%- for path, size in sizes.items() -%}
        {%- if size == 0 -%}
            {{ exceptions.raise_compiler_error("Raw file " ~ raw_dir() ~ '/' ~ path ~ " is empty (0 bytes). " ~ remedy) }}
        {%- endif -%}
        {%- for name in partitions if '/' ~ name ~ '=' not in '/' ~ path.rpartition('/')[0] -%}
            {{ exceptions.raise_compiler_error("Raw file " ~ raw_dir() ~ '/' ~ path ~ " lies in no folder " ~ name
                ~ "=..., which partitions of the adapter requires. Move it into one, or leave " ~ name ~ " out of partitions.") }}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(sizes) }}
{%- endmacro %}

{% macro n_raw_files(pattern) -%}
    {%- set found = [] -%}
    {%- for path in listed_files() if not unread_reason(path, pattern) -%}{%- do found.append(path) -%}{%- endfor -%}
    {{ return(found | length) }}
{%- endmacro %}

{% macro record_unread(scan, unread) -%}
    {#- Stores the files that a scan doesn't read as the view unread_raw__<scan>. -#}
    {%- set rows = ["(cast(null as string), cast(null as string))"] -%}
    {%- for path, reason in unread -%}{%- do rows.append("(" ~ literal(path) ~ ", " ~ literal(reason) ~ ")") -%}{%- endfor -%}
    {%- do run_query("create or replace view " ~ target.schema ~ ".unread_raw__" ~ scan[:8] ~ " as select * from values "
        ~ rows | join(', ') ~ " as unread (path, reason) where path is not null") -%}
{%- endmacro %}

{% macro spark__lines_about_unread_files() -%}
    {#- Only of scans in the current source model; a file that any of them reads counts as read. -#}
    {%- set text = run_query("show create table " ~ ref_by_name('src_' ~ adapter_name())).columns[0][0] -%}
    {%- set selects, lines = [], [] -%}
    {%- for row in run_query("show views in " ~ target.schema ~ " like 'unread_raw__*'").rows
        if row['viewName'] | replace('unread_', '') in text -%}
        {%- do selects.append("select * from " ~ target.schema ~ "." ~ row['viewName']) -%}
    {%- endfor -%}
    {%- if selects -%}
        {%- for row in run_query("select reason, count(*) as n, array_join(slice(array_sort(collect_list(path)), 1, 20), ', ') as names from (select path, max(reason) as reason from ("
            ~ selects | join(" union all ") ~ ") group by path having count(*) = " ~ selects | length
            ~ ") group by reason order by n desc, reason").rows -%}
            {%- do lines.append(row['names'] ~ (' and ' ~ (row['n'] - 20) ~ ' more' if row['n'] > 20) ~ ': ' ~ row['reason']) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(lines) }}
{%- endmacro %}

{% macro header_of(file, path, remedy, options) -%}
    {#- [name, type] of the columns of a CSV file: as its first line has them, renamed, or as the adapter gives them. -#}
    {%- set first = run_query("select value from text.`" ~ glob_of([path]) | replace('`', '``')
        ~ "` where _metadata.file_block_start = 0 limit 1") -%}
    {%- set first_line = (first.columns[0][0] if first.rows else '') | replace('\ufeff', '') -%}
    {%- set delim, quote, header = options.delim, options.quote, options.header -%}
    {%- set fields = [] -%}
    {#- Quoted fields may hold the delimiter, and quotes doubled. -#}
    {%- set text = modules.re.sub(quote ~ '((?:[^' ~ quote ~ ']|' ~ quote * 2 ~ ')*)' ~ quote, '\x00\\1\x00', first_line) if quote else first_line -%}
    {%- set pieces = text.split('\x00') -%}
    {%- set kept = [] -%}
    {%- for piece in pieces -%}{%- do kept.append(piece.replace(delim, '\x01') if loop.index0 % 2 == 0 or not quote else piece.replace(quote * 2, quote)) -%}{%- endfor -%}
    {%- for field in (kept | join('')).split('\x01') -%}{%- do fields.append(field.strip()) -%}{%- endfor -%}
    {%- if header is not none and fields | length != header | length -%}
        {{ exceptions.raise_compiler_error("Raw file " ~ file ~ " has " ~ fields | length ~ " fields in its first line, but header names "
            ~ header | length ~ " columns: " ~ header | join(', ') ~ ". Correct header, or delim. " ~ remedy) }}
    {%- endif -%}
    {%- set found = [] -%}
    {%- for name in header or fields -%}{%- do found.append([options.rename.get(name, name), 'string']) -%}{%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{% macro parquet_columns(path, columns) -%}
    {#- [name, type] of the columns of a Parquet file. Spark reads a null column as int, so a wanted int is looked into: void. -#}
    {%- set file, found, counts = "parquet.`" ~ glob_of([path]) | replace('`', '``') ~ "`", [], [] -%}
    {%- for row in run_query("describe query select * from " ~ file).rows -%}
        {%- do found.append([row['col_name'], row['data_type']]) -%}
        {%- if row['data_type'] == 'int' and row['col_name'] in columns -%}
            {%- do counts.append("count(`" ~ row['col_name'] | replace('`', '``') ~ "`) as `" ~ row['col_name'] | replace('`', '``') ~ "`") -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if counts -%}
        {%- set n_values = run_query("select " ~ counts | join(', ') ~ " from " ~ file).rows[0].dict() -%}
        {%- for column in found if n_values.get(column[0]) == 0 -%}{%- do column.insert(1, 'void') -%}{%- do column.pop() -%}{%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{%- endmacro %}

{% macro check_raw_columns(file, found, columns, remedy, partitions) -%}
    {%- set names = found | map(attribute=0) | list -%}
    {%- set missing = columns | reject('in', names + partitions) | list -%}
    {%- if missing -%}
        {{ exceptions.raise_compiler_error(
            "Raw file " ~ file ~ " lacks the column" ~ ('s ' if missing | length > 1 else ' ') ~ missing | join(', ')
            ~ ". Its first line has " ~ names | length ~ ": " ~ names[:12] | join(', ') ~ (', ...' if names | length > 12)
            ~ ". " ~ remedy) }}
    {%- endif -%}
    {%- for name in columns if names | select('equalto', name) | list | length > 1 -%}
        {{ exceptions.raise_compiler_error("Raw file " ~ file ~ " has " ~ names | select('equalto', name) | list | length
            ~ " columns named " ~ name ~ ": which is meant? Rename all but one. " ~ remedy) }}
    {%- endfor -%}
    {%- for name in partitions if name in names -%}
        {{ exceptions.raise_compiler_error("Raw file " ~ file ~ " has a column " ~ name ~ " and lies in a folder " ~ name
            ~ "=...: which is meant? Leave " ~ name ~ " out of partitions, or the column out of the file. " ~ remedy) }}
    {%- endfor -%}
{%- endmacro %}

{% macro is_nested_type(type) -%}
    {{ return(type.startswith('array') or type.startswith('map') or type.startswith('struct')) }}
{%- endmacro %}

{% macro spark_kind(type) -%}
    {%- if type in ('date', 'timestamp', 'timestamp_ntz') -%}{{ return('a time') }}{%- endif -%}
    {%- if type.startswith('decimal') or type in ('tinyint', 'smallint', 'int', 'bigint', 'float', 'double', 'boolean') -%}
        {{ return('a number') }}
    {%- endif -%}
    {{ return({'a': 'a list', 'm': 'a map'}.get(type[0], 'a struct') if is_nested_type(type) else 'empty' if type == 'void' else 'text') }}
{%- endmacro %}

{% macro check_raw_types(file, found, columns, seen, remedy) -%}
    {#- `seen`: {column: {kind: [type, file]}} of the files before. -#}
    {%- for name, type in found if name in columns and type != 'void' -%}
        {%- set kind = spark_kind(type) -%}
        {%- for other, where in seen.get(name, {}).items() if other != kind
            and ((other, kind) in (('a time', 'a number'), ('a number', 'a time')) or is_nested_type(type) or is_nested_type(where[0])) -%}
            {{ exceptions.raise_compiler_error("Column " ~ name ~ " is " ~ kind ~ " (" ~ type ~ ") in raw file " ~ file ~ ", but "
                ~ other ~ " (" ~ where[0] ~ ") in " ~ where[1] ~ ". Write it in one type in all files. " ~ remedy) }}
        {%- endfor -%}
        {%- do seen.setdefault(name, {}).setdefault(kind, [type, file]) -%}
    {%- endfor -%}
{%- endmacro %}

{% macro text_of_type(value, type, nested='') -%}
    {#- SQL: a value as text, by the type of its own file; `nested` is the type to give to nothing. -#}
    {%- if type == 'void' -%}{{ return("cast(null as " ~ (nested or 'string') ~ ")") }}{%- endif -%}
    {%- if type == 'timestamp' -%}{{ return("concat(cast(" ~ value ~ " as string), '+00:00')") }}{%- endif -%}
    {%- if type == 'binary' -%}{{ return("validate_utf8(cast(" ~ value ~ " as string))") }}{%- endif -%}
    {%- if type in ('float', 'double') -%}
        {%- set text = "cast(" ~ value ~ " as string)" -%}
        {#- As DuckDB writes it: 1e-05 for Java's 1.0E-5, 12345678.5 for 1.23456785E7. -#}
        {%- set exponent = "regexp_replace(regexp_replace(regexp_replace(regexp_replace(" ~ text
            ~ ", '[.]0E', 'E'), 'E-', 'e-'), 'E', 'e+'), 'e([-+])([0-9])$', 'e$10$2')" -%}
        {{ return("case when isnan(" ~ value ~ ") then 'NaN' when abs(" ~ value ~ ") = double('inf') then if(" ~ value
            ~ " > 0, 'inf', '-inf') when " ~ value ~ " = rint(" ~ value ~ ") and abs(" ~ value ~ ") < "
            ~ (16777216 if type == 'float' else 9007199254740992) ~ " then cast(cast(" ~ value ~ " as bigint) as string) when abs("
            ~ value ~ ") < 1e-4 or " ~ value ~ " = rint(" ~ value ~ ") then " ~ exponent ~ " when abs(" ~ value
            ~ ") < 1e-3 or abs(" ~ value ~ ") >= 1e7 then regexp_replace(cast(cast(" ~ text
            ~ " as decimal(38, 20)) as string), '[.]?0+$', '') else " ~ text ~ " end") }}
    {%- endif -%}
    {%- set list_of = modules.re.match('^array<([a-z_]+(?:[(][0-9,]+[)])?)>$', type) -%}
    {%- if list_of -%}{{ return("transform(" ~ value ~ ", e -> " ~ text_of_type('e', list_of.group(1)) ~ ")") }}{%- endif -%}
    {{ return("cast(" ~ value ~ " as " ~ leaves_as_text(type) ~ ")") }}
{%- endmacro %}

{% macro leaves_as_text(type) -%}
    {%- if not is_nested_type(type) -%}{{ return('string') }}{%- endif -%}
    {{ return(modules.re.sub('(^|[<:,])(void|boolean|tinyint|smallint|int|bigint|float|double|decimal[(][0-9,]+[)]|date|timestamp_ntz|timestamp|binary|string)(?=[>,]|$)',
        '\\1string', type)) }}
{%- endmacro %}

{% macro from_folders(partitions) -%}
    {#- {name: SQL} of partition columns, from source_file. -#}
    {%- set found = {} -%}
    {%- for name in partitions -%}
        {%- set value = "regexp_extract(concat('/', source_file), " ~ literal('.*/' ~ modules.re.escape(name) ~ '=([^/]*)/') ~ ", 1)" -%}
        {%- do found.update({name: "nullif(coalesce(try_url_decode(replace(" ~ value ~ ", '+', '%2B')), " ~ value
            ~ "), '__HIVE_DEFAULT_PARTITION__')"}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{% macro glob_of(paths) -%}
    {#- One Hadoop glob for several files below raw_dir. -#}
    {%- set escaped = [] -%}
    {%- for path in paths -%}{%- do escaped.append(modules.re.sub('([\\\\{}\\[\\]*?,])', '\\\\\\1', path)) -%}{%- endfor -%}
    {{ return(absolute_path(raw_dir()) ~ '/' ~ (escaped[0] if escaped | length == 1 else '{' ~ escaped | join(',') ~ '}')) }}
{%- endmacro %}

{% macro registered_parquet(table, paths, found, columns, partitions, seen) -%}
    {#- Registers files of one schema as a table and returns the select of their rows. -#}
    {%- set raw = api.Relation.create(schema=target.schema, identifier=table) -%}
    {%- set typed, texts, folders = [], [], from_folders(partitions) -%}
    {%- for name, type in found if name in columns and type != 'void' -%}
        {%- do typed.append("`" ~ name.replace('`', '``') ~ "` " ~ type) -%}
    {%- endfor -%}
    {%- for name in columns -%}
        {%- if name in folders -%}{%- do texts.append(folders[name] ~ " as `" ~ name ~ "`") -%}
        {%- else -%}
            {%- set type = (found | selectattr(0, 'equalto', name) | first)[1] -%}
            {%- set others = seen.get(name, {}).values() | list -%}
            {%- do texts.append(text_of_type("`" ~ name.replace('`', '``') ~ "`", type, leaves_as_text(others[0][0]) if others else '')
                ~ " as `" ~ name.replace('`', '``') ~ "`") -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do run_query("drop table if exists " ~ raw) -%}
    {%- do run_query("create table " ~ raw ~ " (" ~ typed | join(', ') ~ ") using parquet options (path " ~ literal(glob_of(paths))
        ~ ", recursiveFileLookup 'true')") -%}
    {{ return("select " ~ texts | join(', ') ~ ", source_file, source_row from (select *, " ~ below_root('_metadata.file_path')
        ~ " as source_file, _metadata.row_index + 1 as source_row from " ~ raw ~ ")") }}
{%- endmacro %}

{% macro registered_csv(table, paths, found, columns, options) -%}
    {#-
      Registers CSV files of one header as a table, the lines in it that are no rows as the view malformed_<table>, and
      returns the select of the rows. All columns of the file are read: Spark counts a line's fields only then.
    -#}
    {%- set raw = api.Relation.create(schema=target.schema, identifier=table) -%}
    {%- set delim, quote = options.delim, options.quote -%}
    {%- set names, header, folders = [], found | map(attribute=0) | list, from_folders(options.partitions) -%}
    {%- for name in header -%}
        {%- do names.append('`' ~ name ~ '`' if name in columns and name not in header[:loop.index0] else '_column_' ~ loop.index) -%}
    {%- endfor -%}
    {%- do run_query("drop table if exists " ~ raw) -%}
    {%- do run_query("create table " ~ raw ~ " (" ~ names | join(' string, ') ~ " string, _no_row string) using csv options ("
        ~ "path " ~ literal(glob_of(paths)) ~ ", recursiveFileLookup 'true', header '" ~ ('false' if options.header else 'true') ~ "', enforceSchema 'true', encoding 'UTF-8', mode 'PERMISSIVE', "
        ~ "columnNameOfCorruptRecord '_no_row', columnPruning 'false', multiLine '" ~ ('true' if quote else 'false') ~ "', "
        ~ "sep " ~ literal(delim) ~ ", quote " ~ literal(quote) ~ ", escape " ~ literal(quote) ~ ")") -%}

    {%- set located = below_root('_metadata.file_path') ~ " as source_file, _metadata.file_block_start as block_start, "
        ~ "monotonically_increasing_id() as position" -%}
    {%- set numbered = "row_number() over (partition by source_file order by block_start, position)" -%}
    {#- Bytes that aren't UTF-8 are read as U+FFFD, and would pass for text. -#}
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
    {%- set read, given = [], [] -%}
    {%- for name in columns -%}
        {%- do given.append((folders[name] ~ " as " if name in folders else '') ~ '`' ~ name ~ '`') -%}
        {%- if name not in folders -%}{%- do read.append('`' ~ name ~ '`') -%}{%- endif -%}
    {%- endfor -%}
    {{ return("select " ~ given | join(', ') ~ ", source_file, cast(" ~ numbered ~ " as bigint) as source_row from ("
        ~ "select " ~ read | join(', ') ~ ", " ~ located ~ " from " ~ raw ~ " where _no_row is null and not " ~ garbled
        ~ ")") }}
{%- endmacro %}

{% macro spark__clear_malformed_lines() -%} {%- endmacro %}
{% macro spark__read_files_in_parallel(yes) -%} {%- endmacro %}

{% macro spark__save_malformed_lines() -%}
    {#- From the views that registered_csv made, but only of tables that the current source model reads. -#}
    {%- if execute -%}
        {%- set source = ref('src_' ~ adapter_name()) -%}
        {%- set text = run_query("show create table " ~ source).columns[0][0] -%}
        {%- set lines = [] -%}
        {%- for row in run_query("show views in " ~ target.schema ~ " like 'malformed_raw__*'").rows
            if row['viewName'] | replace('malformed_', '') in text -%}
            {%- do lines.append("select * from " ~ target.schema ~ "." ~ row['viewName']) -%}
        {%- endfor -%}
        {%- do run_query("drop table if exists " ~ malformed_lines()) -%}
        create table {{ malformed_lines() }} using parquet {{ location_of(malformed_lines().identifier) }} as
        {{ lines | join(" union all ") if lines else
            "select cast(null as string) as source_file, cast(null as bigint) as source_line, cast(null as string) as problem,
            cast(null as string) as line, cast(null as bigint) as n_lines_taken_in where false" }}
    {%- endif -%}
{%- endmacro %}
