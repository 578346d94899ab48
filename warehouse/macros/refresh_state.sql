{#-
  The refresh state: four tables in the schema of the models (DuckDB).
    refresh_loads   which days each load affects, or that it read everything again
    refresh_files   the raw files: size, modification time, scan, load and columns; or why they aren't read
    refresh_tests   up to which load each data test has passed
    refresh_models  up to which load each table is current, and the fingerprint of what it was built from
  A model's record is written in the same transaction as its rows. Without a record the model is built in full, so a build that is
  killed at any moment leaves nothing that the next one would take for finished.
-#}

{% macro state_table(name) -%} {{ return(target.schema ~ '.refresh_' ~ name) }} {%- endmacro %}

{% macro create_state_tables() -%}
    {#- on-run-start. State tables with an outdated schema are recreated empty, and everything is built in full. -#}
    {%- if execute and target.type == 'duckdb' -%}
        {%- set tables = {
            'loads': {'load': 'integer', 'is_full': 'boolean', 'days': 'date[]'},
            'files': {'file': 'varchar', 'size': 'bigint', 'modified_ns': 'bigint', 'reason': 'varchar', 'scan': 'varchar',
                'columns': 'varchar', 'load': 'integer'},
            'models': {'relation': 'varchar', 'load': 'integer', 'fingerprint': 'varchar', 'invocation_id': 'varchar',
                'days': 'date[]'},
            'tests': {'test': 'varchar', 'load': 'integer', 'fingerprint': 'varchar'}} -%}
        {%- set found = run_query("select table_name || '.' || column_name as name from duckdb_columns() where schema_name = "
            ~ literal(target.schema) ~ " and starts_with(table_name, 'refresh_')").columns[0].values() | list -%}
        {%- set expected = [] -%}
        {%- for name, columns in tables.items() -%}{%- for column in columns -%}
            {%- do expected.append('refresh_' ~ name ~ '.' ~ column) -%}
        {%- endfor -%}{%- endfor -%}
        {%- if found | sort != expected | sort -%}
            {%- for name, columns in tables.items() -%}
                {%- set typed = [] -%}
                {%- for column, type in columns.items() -%}{%- do typed.append(column ~ ' ' ~ type) -%}{%- endfor -%}
                {%- do run_query("create or replace table " ~ state_table(name) ~ " (" ~ typed | join(', ') ~ ")") -%}
            {%- endfor -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro state_rows(name, columns, condition='true') -%}
    {#- Rows of a state table. Commands that build nothing may run on a database that has none. -#}
    {%- if not has_state_table(name) -%}{{ return([]) }}{%- endif -%}
    {{ return(run_query("select " ~ columns ~ " from " ~ state_table(name) ~ " where " ~ condition).rows) }}
{%- endmacro %}

{% macro has_state_table(name) -%}
    {{ return(flags.WHICH in ('build', 'run', 'test') or run_query(
        "select count(*) from duckdb_tables() where schema_name = " ~ literal(target.schema) ~ " and table_name = "
        ~ literal('refresh_' ~ name)).columns[0][0] > 0) }}
{%- endmacro %}

{% macro recorded_models() -%}
    {%- set found = {} -%}
    {%- for row in state_rows('models', 'relation, load, fingerprint, invocation_id, to_json(days) as days') -%}
        {%- do found.update({row['relation']: {
            'load': none if row['load'] is none else row['load'] | int, 'fingerprint': row['fingerprint'],
            'invocation_id': row['invocation_id'], 'days': fromjson(row['days'] or 'null')}}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{% macro recorded_files() -%}
    {%- set found = {} -%}
    {%- for row in state_rows('files', 'file, size, modified_ns', 'reason is null') -%}
        {%- do found.update({row['file']: [row['size'] | int, row['modified_ns'] | int]}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{% macro recorded_views() -%}
    {%- set found = {} -%}
    {%- for row in run_query("select database_name, schema_name, view_name, sql from duckdb_views() where not internal").rows -%}
        {%- set name = api.Relation.create(database=row['database_name'], schema=row['schema_name'], identifier=row['view_name']) -%}
        {%- do found.update({name | string: row['sql']}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{% macro next_load() -%}
    {%- set rows = state_rows('loads', 'coalesce(max(load), 0) + 1 as load') -%}
    {{ return(rows[0]['load'] | int if rows else 1) }}
{%- endmacro %}

{% macro loads_between(after, up_to) -%}
    {#- The files and days of the loads after `after` and up to `up_to`, or that one of them read everything again. -#}
    {%- if after == up_to -%}{{ return({'is_full': false, 'files': [], 'days': []}) }}{%- endif -%}
    {%- set between = "load > " ~ after ~ " and load <= " ~ up_to -%}
    {%- set files, days = [], [] -%}
    {%- for row in state_rows('files', 'file', between) -%}{%- do files.append(row['file']) -%}{%- endfor -%}
    {%- for row in state_rows('loads', 'distinct cast(unnest(days) as varchar) as day', between) -%}
        {%- do days.append(row['day']) -%}
    {%- endfor -%}
    {{ return({'is_full': state_rows('loads', 'load', between ~ ' and is_full') | length > 0, 'files': files, 'days': days}) }}
{%- endmacro %}

{% macro days_of(rows) -%}
    {#- The days that changed rows (day, known_day) affect: their own, and every day of the log from the first known day on. -#}
    {%- set events = ref_by_name('stg_events') -%}
    {%- set found = [] -%}
    {%- for row in run_query(
        "with changed as materialized (" ~ rows ~ ") select distinct cast(day as varchar) as day from ("
        ~ "select day from changed union all select known_day from changed union all select unnest([event_date, known_date])"
        ~ " from " ~ events ~ " where known_date >= (select min(known_day) from changed))"
        ~ " where day >= (select min(known_day) from changed) or day in (select day from changed) order by 1").rows -%}
        {%- do found.append(row['day']) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{% macro ref_by_name(name) -%}
    {#- A relation by its name, without an edge in the lineage. -#}
    {{ return(api.Relation.create(database=target.get('database'), schema=target.schema, identifier=name)) }}
{%- endmacro %}

{% macro state_of_parents(unique_id, records, views) -%}
    {#-
      For everything that a node reads: the load up to which all of it is current, the fingerprints of what it was built from, and
      what this build has recomputed. A view stands for what it reads.
    -#}
    {%- set loads, fingerprints, rebuilt, days = [], [], [], [] -%}
    {%- for parent in graph.nodes[unique_id].depends_on.nodes -%}
        {%- set node = graph.nodes.get(parent) -%}
        {%- if node and node.resource_type == 'model' and node.config.materialized in ('view', 'ephemeral') -%}
            {%- set further = state_of_parents(parent, records, views) -%}
            {%- do loads.append(further.load) -%}
            {%- do fingerprints.append(views.get(node.relation_name, node.checksum.checksum)) -%}
            {%- do fingerprints.extend(further.fingerprints) -%}
            {%- do days.extend(further.days) -%}
            {%- if further.is_rebuilt -%}{%- do rebuilt.append(parent) -%}{%- endif -%}
        {%- else -%}
            {%- set record = records.get(node.relation_name) if node else none -%}
            {%- do loads.append(record.load if record else none) -%}
            {%- do fingerprints.append(record.fingerprint if record else parent) -%}
            {%- if record and record.invocation_id == invocation_id -%}
                {%- if record.days is none -%}{%- do rebuilt.append(parent) -%}{%- else -%}{%- do days.extend(record.days) -%}{%- endif -%}
            {%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return({'load': none if none in loads or not loads else loads | min, 'fingerprints': fingerprints, 'days': days,
        'is_rebuilt': rebuilt | length > 0}) }}
{%- endmacro %}

{% macro fingerprint_of(read) -%}
    {#- What a table is built from: its SQL as compiled for a full build (macros and vars included), its contract, and what it reads. -#}
    {%- set columns = [] -%}
    {%- for name, column in model.columns.items() -%}{%- do columns.append([name, column.get('data_type', '')]) -%}{%- endfor -%}
    {%- do model.update({'as_full_build': true}) -%}
    {%- set text = render(model.raw_code) -%}
    {%- set record = build_record(0) if model.config.materialized == 'mart' else {} -%}
    {%- do model.update({'as_full_build': false}) -%}
    {%- do record.update({'invocation_id': ''}) -%}
    {%- set engine = run_query("select version()").columns[0][0] -%}
    {{ return(local_md5(tojson([text, columns, model.config.materialized, config.get('partition_by'), record, engine, read]))) }}
{%- endmacro %}

{% macro full_build_sql_of(relation) -%}
    {#- The SQL of a view that scans raw files, with its scans but without the names of their files (macros/raw_files.sql). -#}
    {%- set before = model.get('as_full_build', false) -%}
    {%- do model.update({'as_full_build': true}) -%}
    {%- set text = render(node_of(relation).raw_code) -%}
    {%- do model.update({'as_full_build': before}) -%}
    {{ return(text) }}
{%- endmacro %}

{% macro is_in_place(record) -%}
    {#- Whether the table or mart of a record is still there. -#}
    {%- if load_cached_relation(this) is none -%}{{ return(false) }}{%- endif -%}
    {%- if model.config.materialized != 'mart' -%}{{ return(true) }}{%- endif -%}
    {%- set built = literal(marts_dir() ~ '/' ~ this.identifier ~ '/_build/build.json') -%}
    {%- if not run_query("select count(*) from glob(" ~ built ~ ")").columns[0][0] -%}{{ return(false) }}{%- endif -%}
    {{ return(run_query("select invocation_id from read_json(" ~ built ~ ")").columns[0][0] | string == record.invocation_id) }}
{%- endmacro %}

{% macro delete_model_record() -%}
    {%- do run_query("delete from " ~ state_table('models') ~ " where relation = " ~ literal(this)) -%}
{%- endmacro %}

{% macro record_model(plan) -%}
    {%- set load = 'null' if plan.load is none else plan.load -%}
    {%- if model.name == 'parsed_events' -%}{%- do record_files(plan, load) -%}{%- endif -%}
    {%- if plan.mode == 'none' -%}
        {%- do run_query("update " ~ state_table('models') ~ " set load = " ~ load ~ " where relation = " ~ literal(this)) -%}
        {{ return(none) }}
    {%- endif -%}
    {%- do delete_model_record() -%}
    {%- do run_query("insert into " ~ state_table('models') ~ " values (" ~ literal(this) ~ ", " ~ load ~ ", "
        ~ literal(plan.fingerprint) ~ ", " ~ literal(invocation_id) ~ ", "
        ~ (dates_literal(plan.days) if plan.mode == 'days' else 'null') ~ ")") -%}
    {%- if model.name == 'parsed_events' -%}
        {%- do run_query("insert into " ~ state_table('loads') ~ " values (" ~ load ~ ", " ~ (plan.mode == 'full') ~ ", [])") -%}
    {%- elif model.name == 'rejected_events' and plan.mode == 'days' -%}
        {%- do finish_load(plan) -%}
    {%- endif -%}
{%- endmacro %}

{% macro record_files(plan, load) -%}
    {#- Records all raw files found. Those read before keep their load; those that aren't read have a reason. -#}
    {%- set read, columns, unread = {}, [], {} -%}
    {%- for scan, answer in plan.scans.items() -%}
        {%- set n_before = columns | length + 1 -%}
        {%- do columns.extend(answer.columns) -%}
        {%- for path, size, modified_ns, number in answer.files -%}
            {%- do read.update({path: [path, size, modified_ns, none, scan, n_before + number]}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for answer in plan.scans.values() -%}
        {%- for path, size, modified_ns, reason in answer.left_out if path not in read -%}
            {#- A scan that matches a file but can't read it has the better reason than one that doesn't match it. -#}
            {%- if path not in unread or unread[path][3].startswith('does not match') -%}
                {%- do unread.update({path: [path, size, modified_ns, reason, none, none]}) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do run_query("create or replace temporary table files_found as with found as (select unnest(from_json("
        ~ literal(tojson(read.values() | list + unread.values() | list)) ~ ", '[[\"varchar\"]]')) as f), "
        ~ "known as (select file, min(load) as load from " ~ state_table('files') ~ " where reason is null group by file) "
        ~ "select f[1] as file, cast(f[2] as bigint) as size, cast(f[3] as bigint) as modified_ns, f[4] as reason, f[5] as scan, "
        ~ "from_json(" ~ literal(tojson(columns)) ~ ", '[\"varchar\"]')[cast(f[6] as integer)] as columns, "
        ~ "case when f[4] is null then coalesce(" ~ ("null" if plan.mode == 'full' else "known.load") ~ ", " ~ load ~ ") end as load "
        ~ "from found left join known on known.file = f[1]") -%}
    {%- do run_query("delete from " ~ state_table('files')) -%}
    {%- do run_query("insert into " ~ state_table('files') ~ " select * from files_found") -%}
{%- endmacro %}

{% macro n_repeats_of_old_files() -%}
    {{ return(run_query("select count(*) from " ~ this ~ " where reason like 'repeats %' and not "
        ~ one_of_files('source_file')).columns[0][0] | int) }}
{%- endmacro %}

{% macro dates_literal(days) -%} {{ return(tojson(days).replace('"', "'") ~ "::date[]") }} {%- endmacro %}

{% macro finish_load(plan) -%}
    {#-
      Records the days that a load affects, which are known once its rows are accepted or rejected. If a new row turns an earlier one
      into a repeat (because its file comes first by name), an accepted event is gone, and everything is built again.
    -#}
    {%- set n_gone = n_repeats_of_old_files() - plan.n_repeats -%}
    {%- set days = days_of("select event_date as day, known_date as known_day from " ~ ref_by_name('parsed_events') ~ " as parsed"
        ~ " where " ~ one_of_files('source_file') ~ " and unreadable_because is null and not exists (select 1 from " ~ this
        ~ " as rejected where rejected.source_file = parsed.source_file and rejected.source_row = parsed.source_row and rejected.source_position = parsed.source_position)") -%}
    {%- do run_query("update " ~ state_table('loads') ~ " set is_full = " ~ (n_gone > 0) ~ ", days = " ~ dates_literal(days)
        ~ " where load = " ~ plan.load) -%}
    {%- do log('Refresh: ' ~ ('full build: ' ~ n_gone ~ ' events read before repeat events of new raw files' if n_gone
        else days | length ~ (' days' if days | length > 1 else ' day') ~ ', from ' ~ days[0] if days else 'no event is new'), info=true) -%}
{%- endmacro %}
