{#-
  The materialization `mart`: Parquet under data/marts/<dataset>/, partitioned if config partition_by says so, with a
  record of what built it (_build/). Written to a temporary folder, checked for its row count, published by a rename; a view reads it.
-#}

{% macro contract_columns() -%}
    {#- The columns of this model's contract, in its order: the mart's final column list is kept in its yml only. -#}
    {%- for name in model.columns -%}{{ name }}{{ ', ' if not loop.last }}{%- endfor -%}
    {%- if not model.columns -%} * {%- endif -%}
{%- endmacro %}

{% macro ancestor_checksums(unique_id, found) -%}
    {%- set node = graph.nodes[unique_id] -%}
    {%- do found.update({unique_id: node.checksum.checksum}) -%}
    {%- for parent in node.depends_on.nodes if parent in graph.nodes and parent not in found -%}
        {%- do ancestor_checksums(parent, found) -%}
    {%- endfor -%}
{%- endmacro %}

{% macro mart_vars() -%}
    {#- The vars that a mart's values depend on: in its build record, and as config meta in dbt's manifest, so that the two can be compared. -#}
    {%- set vars = {'scenes': scenes()} -%}
    {%- for name in ['val_from', 'test_from'] -%}{%- do vars.update({name: instant_var(name)}) -%}{%- endfor -%}
    {%- for name in ['ctx_dense', 'ctx_ids', 'user_text_parts'] -%}{%- do vars.update({name: dataset_var(name, [])}) -%}{%- endfor -%}
    {%- do vars.update({'entity_separator': dataset_var('entity_separator', ''),
        'few_max': var('few_max'), 'prior_weight': var('prior_weight'), 'history_length': var('history_length'),
        'label_delay': dataset_var('label_delay', var('label_delay'))}) -%}
    {%- do vars.update(split_vars()) -%}
    {{ return(vars) }}
{%- endmacro %}

{% macro build_record(n_rows) -%}
    {#- What a reader of the mart must know about its build, as a dict. The trainer checks it against manifest and Parquet. -#}
    {%- set columns = [] -%}
    {%- for name, column in model.columns.items() -%}
        {%- do columns.append({
            'name': name, 'data_type': column.data_type, 'description': column.description,
            'meta': column.config.meta if column.config and column.config.meta else column.meta}) -%}
    {%- endfor -%}
    {%- set checksums = {} -%}
    {%- do ancestor_checksums(model.unique_id, checksums) -%}
    {%- set record = {
        'model': model.name, 'version': model.get('version'), 'unique_id': model.unique_id, 'dataset': var('dataset'),
        'invocation_id': invocation_id, 'dbt_version': dbt_version, 'adapter': 'duckdb' if target.type == 'duckdb' else 'spark', 'n_rows': n_rows,
        'node_checksums': checksums, 'columns': columns, 'vars': mart_vars()} -%}
    {%- if table_format() != 'parquet' -%}{%- do record.update({'table_format': table_format()}) -%}{%- endif -%}
    {{ return(record) }}
{%- endmacro %}

{% macro table_format() -%}
    {#- What the folder of a mart is: Parquet files, or these with the log of a Delta table (warehouse/delta.py). -#}
    {%- set format = var('table_format') -%}
    {%- if format not in ['parquet', 'delta'] -%}
        {{ exceptions.raise_compiler_error("var table_format is '" ~ format ~ "'; expected parquet or delta.") }}
    {%- elif format == 'delta' and target.type != 'duckdb' -%}
        {{ exceptions.raise_compiler_error("var table_format is delta, which is written on DuckDB only. Build with --target duckdb, "
            ~ "or leave the var at parquet and make Delta tables of the marts with Spark's own Delta package.") }}
    {%- endif -%}
    {{ return(format) }}
{%- endmacro %}

{% macro stop_if_wrongly_empty(place) -%}
    {#- Config empty_when names a macro that returns whether the mart may be empty; without it no mart may. -#}
    {%- set empty_when = config.get('empty_when') -%}
    {%- if not (empty_when and context[empty_when]()) -%}
        {{ exceptions.raise_compiler_error(this.identifier ~ " would be empty; the mart at " ~ place ~ " is left as it was.") }}
    {%- endif -%}
{%- endmacro %}

{% macro record_select(record) -%}
    select
    {%- for key, value in record.items() %}
        {% if value is none %}null{% elif value is string %}{{ literal(value) }}{% elif value is number %}{{ value }}
        {%- else %}{{ json_of(value) }}{% endif %} as {{ key }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{% macro made_folder(path) -%}
    {#- Makes an empty folder and returns its path as COPY needs it: below the project's folder, from wherever dbt is called. -#}
    {{ return(run_query("select make_folder(" ~ literal(path) ~ ")").columns[0][0]) }}
{%- endmacro %}

{% materialization mart, adapter='duckdb' %}
    {%- set place = marts_dir() ~ '/' ~ this.identifier -%}
    {%- set aside = marts_dir() ~ '/.' ~ this.identifier ~ '.partial' -%}
    {%- set partition_by = config.get('partition_by') -%}
    {%- set target_relation = this.incorporate(type='view') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set plan = refresh_plan() -%}

    {{ run_hooks(pre_hooks) }}
    {%- if plan.is_current and not plan.is_full or flags.EMPTY -%}
        {#- With --empty a mart that is there stays; a new one is a view of no rows. -#}
        {%- call statement('main') -%}
            {{ 'create view ' ~ target_relation ~ ' as ' ~ sql if existing is none else 'select * from (' ~ sql ~ ') limit 0' if flags.EMPTY
                else "select 'nothing is new'" }}
        {%- endcall -%}
        {%- if existing is not none and not flags.EMPTY -%}{%- do persist_docs(target_relation, model) -%}{%- endif -%}
        {{ run_hooks(post_hooks) }}
        {{ adapter.commit() }}
        {{ return({'relations': [target_relation]}) }}
    {%- endif -%}
    {%- if config.get('contract').enforced -%}{{ get_assert_columns_equivalent(sql) }}{%- endif -%}
    {%- set aside = made_folder(aside) -%}
    {%- if not plan.is_full and partition_by -%}
        {#- Unchanged days are hard-linked. -#}
        {%- do run_query("select link_days(" ~ literal(place) ~ ", " ~ literal(aside) ~ ", " ~ literal(partition_by) ~ ", "
            ~ literal(tojson(plan.days)) ~ ")") -%}
    {%- endif -%}

    {%- if partition_by -%}
        {%- for days in chunks_to_write(plan) -%}{%- do write_chunk(sql, aside, partition_by, days) -%}{%- endfor -%}
    {%- else -%}
        {%- call statement('main') -%}
            copy ({{ sql }}) to {{ literal(aside ~ '/part-0.parquet') }} (format parquet, compression zstd)
        {%- endcall -%}
    {%- endif -%}

    {#- An empty partitioned result leaves no file at all, and a scan without files is an error. -#}
    {%- set files = literal(aside ~ '/**/*.parquet') -%}
    {%- set n_files = run_query("select count(*) from glob(" ~ files ~ ")").columns[0][0] -%}
    {%- set n_rows = run_query("select sum(num_rows) from parquet_file_metadata(" ~ files ~ ")").columns[0][0] | int
        if n_files else 0 -%}
    {%- if n_rows == 0 -%}{{ stop_if_wrongly_empty(place) }}{%- endif -%}
    {%- do run_query("copy (" ~ record_select(build_record(n_rows)) ~ ") to " ~ literal(made_folder(aside ~ '/_build') ~ '/build.json')
        ~ " (format json)") -%}
    {%- if table_format() == 'delta' -%}
        {%- do run_query("select write_delta_log(" ~ literal(aside) ~ ", " ~ literal(place) ~ ", " ~ literal(partition_by or '') ~ ")") -%}
    {%- endif -%}
    {%- do run_query("select publish_folder(" ~ literal(aside) ~ ", " ~ literal(place) ~ ")") -%}

    {%- if existing is not none and existing.type != 'view' -%}{%- do adapter.drop_relation(existing) -%}{%- endif -%}
    {%- call statement('view') -%}
        create or replace view {{ target_relation }} as
        select {{ contract_columns() }}
        from read_parquet({{ literal(place ~ ('/' ~ partition_by ~ '=*' if partition_by else '') ~ '/*.parquet') }}, hive_partitioning = {{ 'true' if partition_by else 'false' }}
            {{- ", hive_types = {'event_date': date}" if partition_by == 'event_date' }})
    {%- endcall -%}

    {%- do apply_grants(target_relation, config.get('grants'), should_revoke=should_revoke(existing, full_refresh_mode=True)) -%}
    {%- do persist_docs(target_relation, model) -%}

    {{ run_hooks(post_hooks) }}
    {{ adapter.commit() }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
