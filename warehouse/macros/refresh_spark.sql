{#-
  Refresh on Spark, whose functions are Python's in dbt's process (adapter.python, warehouse/spark). A table is a view over layers, so that
  it changes by one statement; its record is a property, written last (warehouse/spark/layers.py).
-#}

{% materialization incremental, adapter='sparkpython' %}
    {%- if not is_refreshed() -%}{{ return(dbt.materialization_incremental_spark()) }}{%- endif -%}
    {%- set plan, existing, target_relation = refresh_plan(), load_cached_relation(this), this.incorporate(type='view') -%}
    {%- set place, column = location_of(this.identifier), config.get('meta', {}).get('refresh', 'all') -%}
    {%- set options = {'file_format': config.get('file_format') or 'parquet', 'partition_by': [config.get('partition_by')] if config.get('partition_by') is string else config.get('partition_by') or []} -%}
    {{ run_hooks(pre_hooks) }}
    {%- if existing is not none and (flags.EMPTY or plan.is_current and not plan.is_full) -%}
        {%- call statement('main') -%} {{ 'select * from (' ~ sql ~ ') limit 0' if flags.EMPTY else "select 'nothing is new'" }} {%- endcall -%}
    {%- elif plan.is_full or existing is none -%}
        {%- if existing is not none -%}{%- do adapter.drop_relation(existing) -%}{%- endif -%}
        {%- do adapter.python('clear_layers', this, place) -%}
        {%- if config.get('contract').enforced -%}{{ get_assert_columns_equivalent(sql) }}{%- endif -%}
        {%- call statement('main') -%}
            create table {{ this }}__rows using {{ options.file_format }} {{ partition_cols(label='partitioned by') }} location {{ literal(place) }} as
            {{ sql }}
        {%- endcall -%}
        {%- do run_query(adapter.python('view_of', this, column, [])) -%}
    {%- else -%}
        {%- set layer = adapter.python('layer', this, place, column, plan.days, plan.record.load, options, sql) -%}
        {%- call statement('main') -%} {{ layer.insert }} {%- endcall -%}
        {%- do run_query(layer.view) -%}
    {%- endif -%}
    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=true) -%}
    {{ run_hooks(post_hooks) }}
    {%- if not flags.EMPTY -%}{%- do adapter.python('write_record', this, 'view', new_record()) -%}{%- endif -%}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% macro location_of(name) -%}
    {#- Where Spark keeps a table. Without a location its folder must not exist yet, and a killed build has left one; with one it is overwritten. -#}
    {%- do run_query("set spark.sql.legacy.allowNonEmptyLocationInCTAS = true") -%}
    {%- set schema = run_query("describe schema " ~ this.schema).rows | selectattr(0, 'equalto', 'Location') | first -%}
    {{ return((config.get('location_root') or schema[1]) ~ '/' ~ name) }}
{%- endmacro %}

{% macro spark__location_clause() -%} location {{ literal(location_of(this.identifier)) }} {%- endmacro %}  {#- overrides dbt's macro -#}

{% macro spark__plan_of(id, asked, days, files, records_of_tests) -%}
    {%- set plan = adapter.python('plans_of', asked_plans({id: asked}), tests_passed())[id] -%}
    {%- set since, raw_files, touched_days = plan.get('since'), load_relation(ref_by_name('raw_files')), load_relation(ref_by_name('touched_days')) -%}
    {{ return(dict(plan,
        days=adapter.python('days_since', since, touched_days, load_relation(ref_by_name('stg_events')), day_var('refresh_from'))
            if days and touched_days and not plan.is_full else [],
        files=adapter.python('files_since', since, raw_files) if files and raw_files and not plan.is_full else [])) }}
{%- endmacro %}

{% macro record_tests_on_spark(passed) -%}
    {%- set records = {} -%}
    {%- for id, plan in adapter.python('plans_of', asked_plans(passed), tests_passed()).items() if plan.record.load is not none -%}
        {%- do records.update({id: plan.record}) -%}
    {%- endfor -%}
    {%- if records -%}{%- do adapter.python('record_tests', tests_passed(), records) -%}{%- endif -%}
{%- endmacro %}

{#- ---- Raw files -#}

{% macro spark__found_raw_files() -%}
    {#- The SQL that a plan compares holds no answer. -#}
    {%- set asked = adapter_scans() -%}
    {%- if refresh_plan().get('is_text') -%}{{ return(literal(tojson(asked)) ~ ' /* rules ' ~ reading_rules() ~ ' */') }}{%- endif -%}
    {%- set known = run_query("select scan, file, size, modified_ns, columns from " ~ this ~ " where scan is not null").rows if is_incremental() else [] -%}
    {{ return(literal(adapter.python('find_raw_files', asked, known | map('list') | list))) }}
{%- endmacro %}

{% macro spark__rows_of_json(json, types) -%}
    {%- set fields = [] -%}
    {%- for name, type in types.items() -%}{%- do fields.append(name ~ ': ' ~ type) -%}{%- endfor -%}
    select inline(from_json({{ json }}, 'array<struct<{{ fields | join(', ') }}>>'))
{%- endmacro %}

{% macro spark__reading_rules() -%} {{ return(adapter.python('reading_rules', '')) }} {%- endmacro %}

{% macro spark__make_scan_views(files=none) -%}
    {#- files: of the scans that have some of these, those to read now. -#}
    {%- if execute -%}
        {%- for scan, request in adapter_scans().items() -%}
            {%- set there, only = [], [] -%}
            {%- for row in run_query("select file, columns from " ~ ref_by_name('raw_files') ~ " where scan = " ~ literal(scan) ~ " and reason is null").rows -%}
                {%- do there.append(row.values() | list) -%}
                {%- if row['file'] in (files or []) -%}{%- do only.append(row['file']) -%}{%- endif -%}
            {%- endfor -%}
            {%- if files is none or only -%}
                {%- set made = adapter.python('scan_sql', request, scan, target.schema, there, only or none) -%}
                {%- do run_query("create or replace view " ~ scan_view(scan) ~ " as " ~ made.rows | join(' union all ')) -%}
                {%- do run_query("create or replace view " ~ malformed_view(scan) ~ " as " ~ made.malformed | join(' union all ')) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{% macro malformed_view(scan) -%} {{ return(ref_by_name('raw_malformed_' ~ scan[:12])) }} {%- endmacro %}

{% macro spark__read_files_in_parallel(yes) -%}
    {#- Spark would read every CSV file whole to leave out its rows again: while parsed_events is refreshed, scans are of new files alone. -#}
    {%- if execute and is_incremental() and not refresh_plan().is_current -%}
        {%- do spark__make_scan_views(refresh_plan().files if yes else none) -%}
    {%- endif -%}
{%- endmacro %}

{% macro spark__clear_malformed_lines() -%} {%- endmacro %}

{% macro spark__save_malformed_lines() -%}
    {#- By load, so that a build that was killed saves them anew. -#}
    {%- if execute and not flags.EMPTY and not (is_incremental() and refresh_plan().is_current) -%}
        {%- set selects = [] -%}
        {%- for scan in adapter_scans() -%}{%- do selects.append("select * from " ~ malformed_view(scan)) -%}{%- endfor -%}
        {%- set lines = "select * from (" ~ selects | join(' union all ') ~ ")" ~ (" where " ~ in_new_files() if is_incremental() else '') -%}
        {%- if is_incremental() -%}
            insert overwrite {{ malformed_lines() }} partition (load = {{ refresh_plan().record.load }}) {{ lines }}
        {%- else -%}
            {%- do run_query("drop table if exists " ~ malformed_lines()) -%}
            create table {{ malformed_lines() }} using parquet partitioned by (load) location {{ literal(location_of(malformed_lines().identifier)) }} as
            select *, {{ refresh_plan().record.load }} as load from ({{ lines }})
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro spark__lines_about_unread_files() -%}
    {%- set rows = run_query("select file, reason from " ~ ref_by_name('raw_files') ~ " where load is null").rows | map('list') | list -%}
    {{ return(fromjson(adapter.python('lines_about', tojson(rows)))) }}
{%- endmacro %}
