{#-
  Refresh: models are dbt's incremental ones with the strategy by_day, which replaces the rows of the days that are new since a table
  was built (refresh_spark.sql has Spark's). raw_files, touched_days and loads are the rows that say what is new; docs/refresh.md.

  Config meta:
    refresh      the column whose days are replaced (a date, or an instant), `append`, or `all`; without it a table that isn't
                 current is built in full
    whole_when   a macro that says whether what is new affects every row: nothing, true, or the reason as a text for the log
-#}

{% materialization incremental, adapter='duckdb', supported_languages=['sql', 'python'] %}
    {#- dbt's own, unless nothing is new: then the table isn't touched. -#}
    {%- if not is_refreshed() or not refresh_plan().is_current or flags.EMPTY -%}
        {{ return(dbt.materialization_incremental_duckdb()) }}
    {%- endif -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- call statement('main') -%} select 'nothing is new' {%- endcall -%}
    {%- do apply_grants(this, config.get('grants'), should_revoke=true) -%}
    {%- do persist_docs(this.incorporate(type='table'), model) -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
{% endmaterialization %}

{% macro duckdb__create_view_as(relation, sql) -%}
    {#- Overrides dbt's macro: with --empty a view still reads all rows of its tables. It would go on reading none after that. -#}
    {%- set unlimited = modules.re.sub('[(]select [*] from (\\S+) where false limit 0[)]', '\\1', sql) if flags.EMPTY else sql -%}
    {{ return(dbt.duckdb__create_view_as(relation, unlimited)) }}
{%- endmacro %}

{% macro get_incremental_by_day_sql(arguments) -%}
    {%- set column = config.get('meta', {}).get('refresh') -%}
    {%- set names = get_quoted_csv(arguments.dest_columns | map(attribute='name')) -%}
    {%- if flags.EMPTY -%}
    select 'rows and record stay as they are'
    {%- else %}
    {%- if column != 'append' %}
    delete from {{ arguments.target_relation }}
    where {{ 'true' if column == 'all' else at_days(column) if column.endswith('_at') else in_days(column) }};
    {%- endif %}
    insert into {{ arguments.target_relation }} ({{ names }})
    select {{ names }} from {{ arguments.temp_relation }}
    {%- endif -%}
{%- endmacro %}

{% macro is_refreshed() -%}
    {%- do day_var('refresh_from') -%}  {#- an error if it is none -#}
    {%- if target.type == 'spark' -%}
        {{ exceptions.raise_compiler_error("The target's type in profiles.yml is spark; expected sparkpython, which is dbt-spark with Python for "
            ~ "macros. Change the type, and leave the rest as it is.") }}
    {%- endif -%}
    {{ return(execute and model.resource_type == 'model' and (model.config.materialized == 'mart'
        or model.config.materialized == 'incremental' and config.get('incremental_strategy') == 'by_day')) }}
{%- endmacro %}

{% macro should_full_refresh() -%}
    {#- Overrides dbt's macro: also if the SQL, a var or a table that it reads is another than the table was built from. -#}
    {{ return(refresh_plan().is_full if is_refreshed() else dbt.should_full_refresh()) }}
{%- endmacro %}

{% macro is_incremental() -%}
    {#- Overrides dbt's macro: it holds for a mart too, and a unit test needs no table. -#}
    {{ return(not refresh_plan().is_full if is_refreshed() else model.resource_type == 'model' and dbt.is_incremental()) }}
{%- endmacro %}

{% macro refresh_plan() -%}
    {#-
      What this build does to this model:
        is_full      all rows are written; why: the reason, if it is the model's own
        is_current   nothing is new
        days, files  what is new: dates as text, sorted; paths of raw files
        record       what the table's comment says afterwards (warehouse/refresh.py)
      Kept among the results of the model's statements, as dbt keeps them.
    -#}
    {%- set nothing = {'is_full': true, 'is_current': false, 'why': none, 'days': ['1900-01-01'], 'files': []} -%}
    {#- `dbt show` and `dbt compile` see the SQL of a full build. -#}
    {%- if not is_refreshed() or flags.WHICH in ('show', 'compile', 'generate') -%}{{ return(nothing) }}{%- endif -%}
    {%- set kept = load_result('refresh_plan') -%}
    {%- if kept -%}
        {%- do store_result('refresh_plan', response=kept.response) -%}
        {{ return(kept.response) }}
    {%- endif -%}
    {%- if flags.EMPTY -%}
        {%- set plan = dict(nothing, is_full=load_cached_relation(this) is none, is_current=true) -%}
    {%- else -%}
        {%- do store_result('refresh_plan', response=dict(nothing, is_text=true)) -%}  {#- what full_build_text() is rendered by -#}
        {%- set asked = {'relation': this | string, 'text': full_build_text(), 'full_refresh': dbt.should_full_refresh(),
            'mart': marts_dir() ~ '/' ~ this.identifier if model.config.materialized == 'mart' else none, 'is_root': model.name == 'raw_files'} -%}
        {%- set plan = dict(nothing, **plan_of(model.unique_id, asked, days=not has_parent('raw_files') and model.name != 'raw_files',
            files=has_parent('raw_files'))) -%}
        {%- if not plan.is_full -%}{%- do plan.update(news_since(plan)) -%}{%- endif -%}
    {%- endif -%}
    {%- do store_result('refresh_plan', response=plan) -%}
    {{ return(plan) }}
{%- endmacro %}

{% macro full_build_text() -%}
    {#- What the rows depend on: the SQL of a full build (macros and vars included) and the contract. -#}
    {%- set columns = [] -%}
    {%- for name, column in model.columns.items() -%}{%- do columns.append([name, column.get('data_type', '')]) -%}{%- endfor -%}
    {%- set record = dict(build_record(0), invocation_id='') if model.config.materialized == 'mart' else {} -%}
    {{ return(local_md5(tojson([render(model.raw_code), columns, model.config.materialized, config.get('partition_by'), record]))) }}
{%- endmacro %}

{% macro plan_of(id, asked, days=false, files=false, records_of_tests=none) -%}
    {#- The plan of one node. On request with the days and the raw files that are new to it, sorted. -#}
    {{ return(adapter.dispatch('plan_of')(id, asked, days, files, records_of_tests)) }}
{%- endmacro %}
{% macro duckdb__plan_of(id, asked, days, files, records_of_tests) -%}
    {%- call statement('plan', fetch_result=true, auto_begin=false) %}
    with planned as materialized (
        select cast({{ plans_of({id: asked}, records_of_tests) }} as json) as plans
    )
    select
        cast(plans as varchar) as plans,
        {{ days_since('since') if days else "'[]'" }} as days,
        {{ files_since('since') if files else "'[]'" }} as files
    from (select plans, cast(json_extract(plans, '$.*.since')[1] as bigint) as since from planned) as asked
    {%- endcall -%}
    {%- set found = load_result('plan').table.rows[0] -%}
    {{ return(dict(fromjson(found['plans'])[id], days=fromjson(found['days']), files=fromjson(found['files']))) }}
{%- endmacro %}

{% macro asked_plans(asked) -%}
    {#- What warehouse/refresh.py decides from, besides the records in the comments of tables and marts: the graph. -#}
    {%- set nodes = {} -%}
    {%- for id, node in graph.nodes.items() if node.resource_type == 'model' -%}
        {%- do nodes.update({id: [node.relation_name, node.config.materialized, node.checksum.checksum, node.depends_on.nodes]}) -%}
        {%- if id in asked -%}{%- do asked[id].update({'parents': node.depends_on.nodes}) -%}{%- endif -%}
    {%- endfor %}
    {{ return({'invocation': invocation_id, 'nodes': nodes, 'asked': asked}) }}
{%- endmacro %}

{% macro plans_of(asked, records_of_tests=none) -%}
    {#- SQL: plans by node (DuckDB). -#}
    plan_refresh(
        {{ literal(tojson(asked_plans(asked))) }},
        (
            select cast(coalesce(json_group_object(relation, comment), '{}') as varchar)
            from (
                select {{ relation_text('table_name') }} as relation, comment from duckdb_tables()
                union all
                select {{ relation_text('view_name') }}, comment from duckdb_views() where not internal
                {%- if records_of_tests %}
                union all
                {{ records_of_tests }}
                {%- endif %}
            ) as relations
        ),
        (
            select cast(coalesce(json_group_object({{ relation_text('view_name') }}, sql), '{}') as varchar)
            from duckdb_views()
            where not internal and not starts_with(view_name, 'raw_scan_')
        )
    )
{%- endmacro %}

{% macro relation_text(name) -%} '"' || concat_ws('"."', database_name, schema_name, {{ name }}) || '"' {%- endmacro %}

{% macro news_since(plan) -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- set requested = day_var('refresh_from') is not none -%}
    {%- set files, days = plan.files, plan.days -%}
    {%- set is_current = not files if has_parent('raw_files') else not days if meta.get('refresh')
        else plan.since == plan.record.load and not requested -%}
    {%- set news = {'files': files, 'days': days or ['1900-01-01'], 'is_current': is_current and model.name != 'raw_files'} -%}
    {%- if not is_current and not meta.get('refresh') -%}
        {%- do news.update({'is_full': true}) -%}
    {%- elif not is_current and meta.get('merged_base_days') -%}
        {%- do news.update(merged_base_days(days)) -%}
    {%- endif -%}
    {%- set reason = context[meta.get('whole_when')](plan, news) if meta.get('whole_when') -%}
    {%- if reason -%}
        {%- do news.update({'is_full': true, 'is_current': false, 'why': reason if reason is string else none, 'record': dict(plan.record, built=invocation_id)}) -%}
    {%- endif -%}
    {{ return(news) }}
{%- endmacro %}

{% macro merged_base_days(days) -%}
    {#- Config meta `merged_base_days`: every day up to the first that the table has, its base, was merged into that one. -#}
    {#- The table is empty as long as no event has a text: then there is no base to merge into. -#}
    {%- set base = run_query("select cast(min(" ~ config.get('meta').refresh ~ ") as string) from " ~ this).columns[0][0] or days[0] -%}
    {%- set merged = [] -%}
    {%- for day in days -%}{%- do merged.append([day, base] | max) -%}{%- endfor -%}
    {{ return({'days': merged | unique | list, 'base': base}) }}
{%- endmacro %}

{% macro merged_base_date(day, events) -%}
    {#- The day; for every day that the last full build read, the last of those days: they are merged into one. -#}
    {%- if is_incremental() -%} greatest({{ day }}, date '{{ refresh_plan().base or '1900-01-01' }}')
    {%- else -%} (select max({{ day }}) from {{ events }}) {%- endif -%}
{%- endmacro %}

{% macro has_parent(name) -%}
    {{ return(('model.' ~ model.package_name ~ '.' ~ name) in model.depends_on.nodes) }}
{%- endmacro %}

{% macro files_since(load) -%}
    {#- SQL: the raw files of later loads, as a JSON list. -#}
    {%- set raw_files = load_relation(ref_by_name('raw_files')) -%}
    {{ json_list('file', "(select file from " ~ raw_files ~ " where reason is null and load > " ~ load ~ ")") if raw_files else "'[]'" }}
{%- endmacro %}

{% macro days_since(load) -%}
    {#- SQL: the days of later loads, as a JSON list. With var refresh_from, every day of the log from that one on, whether anything is new or not. -#}
    {%- set first, touched_days, events = day_var('refresh_from'), load_relation(ref_by_name('touched_days')), load_relation(ref_by_name('stg_events')) -%}
    {%- set later = "select day from " ~ touched_days ~ " where load > " ~ load -%}
    {%- set requested = " union all select unnest([event_date, known_date]) from " ~ events ~ " where known_date >= " ~ literal(first) -%}
    {{ json_list('cast(day as varchar)', "(" ~ later ~ (requested if first and events else "") ~ ")") if touched_days else "'[]'" }}
{%- endmacro %}

{% macro json_list(value, rows) -%}
    (select cast(to_json(list_sort(coalesce(list(distinct {{ value }}) filter (where {{ value }} is not null), []))) as varchar) from {{ rows }})
{%- endmacro %}

{% macro log_refresh() -%}
    {#- pre-hook: one line for the raw files, and one for each model that is built in full for a reason of its own. -#}
    {%- set plan = refresh_plan() -%}
    {%- if is_refreshed() and not flags.EMPTY -%}
        {%- if model.name == 'parsed_events' and not plan.is_full -%}
            {%- do log('Refresh: ' ~ (plan.files | length ~ ' new raw file' ~ ('s' if plan.files | length > 1) if plan.files
                else 'no raw file is new or changed'), info=true) -%}
        {%- elif plan.why and (model.name == 'parsed_events' or plan.why != 'no earlier build to refresh') -%}
            {%- set of_model = '' if model.name in ('parsed_events', 'rejected_events') else ' of ' ~ this.identifier -%}
            {%- do log('Refresh: full build' ~ of_model ~ ': ' ~ plan.why, info=true) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro new_record() -%}
    {#- What is recorded once the rows are written. -#}
    {%- set record = dict(refresh_plan().record) -%}
    {%- if model.name == 'raw_files' -%}
        {%- do record.update({'load': run_query("select max(load) from " ~ this).columns[0][0] | int}) -%}
    {%- endif -%}
    {%- if not refresh_plan().is_current -%}{%- do record.update({'wrote': invocation_id}) -%}{%- endif -%}
    {{ return(record) }}
{%- endmacro %}

{% macro record_refresh() -%}
    {#- post-hook (DuckDB), in the transaction that writes the rows: the record becomes the end of the table's (a mart's view's) comment. -#}
    {%- if is_refreshed() and not flags.EMPTY and target.type == 'duckdb' -%}
        {%- set plan, record = refresh_plan(), new_record() -%}
        {%- set is_as_it_was = plan.is_current and record.load == plan.since and not config.persist_relation_docs() -%}
        {%- set text = (model.description ~ '\n\n' if config.persist_relation_docs() and model.description) -%}
        {%- if not is_as_it_was %}
        comment on {{ 'view' if model.config.materialized == 'mart' else 'table' }} {{ this }}
        is {{ literal(text ~ 'refresh: ' ~ tojson(record)) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
