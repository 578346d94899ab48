{#-
  Data tests in a refresh: `dbt build` tests the rows that are new since the test last passed, not the whole history again.
  A test that fails isn't recorded, so the rows it failed on are tested until it passes. `dbt test` always tests every row.
  A test has no table whose comment could hold its record, so the records are in the table tests_passed (on Spark, its properties).
-#}

{% macro default__get_where_subquery(relation) -%}
    {#- Overrides dbt's macro: which rows of its model a generic test reads. -#}
    {%- set conditions = [config.get('where')] if config.get('where') else [] -%}
    {%- set scope = test_scope() -%}
    {%- set tested = graph.nodes.get(model.get('attached_node')) if execute else none -%}
    {%- if tested and not scope.is_full and not config.get('meta', {}).get('every_row') -%}
        {%- set column = (tested.config.meta or {}).get('refresh') -%}
        {%- if not scope.days and not scope.files -%}
            {%- do conditions.append('false') -%}
        {%- elif tested.name in ('parsed_events', 'rejected_events') -%}
            {%- do conditions.append('source_file in (' ~ quoted(scope.files) ~ ')') -%}
        {%- elif scope.days and column and column not in ('append', 'merge', 'all') and not (tested.config.meta or {}).get('merged_base_days') -%}
            {%- do conditions.append(in_dates('cast(' ~ column ~ ' as date)' if column.endswith('_at') else column, scope.days)) -%}
        {%- endif -%}
    {%- endif -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ conditions | join(' and ') ~ ') dbt_subquery' if conditions else relation) }}
{%- endmacro %}

{% macro in_tested_days(day) -%}
    {#- The same for a test written in SQL. -#}
    {%- set scope = test_scope() -%}
    {%- if scope.is_full or scope.files and not scope.days -%} true
    {%- elif scope.days -%} {{ in_dates(day, scope.days) }}
    {%- else -%} false {%- endif -%}
{%- endmacro %}

{% macro test_scope() -%}
    {#- Every row, or the days and raw files that came since the test passed. -#}
    {%- if not execute or model.resource_type != 'test' or flags.WHICH != 'build' or flags.EMPTY -%}
        {{ return({'is_full': true}) }}
    {%- endif -%}
    {%- set kept = load_result('test_scope') -%}
    {%- set scope = kept.response if kept else plan_of(model.unique_id, asked_of_test(model.unique_id), days=true, files=true,
        records_of_tests=records_of_tests([model.unique_id])) -%}
    {%- do store_result('test_scope', response=scope) -%}
    {{ return(scope) }}
{%- endmacro %}

{% macro asked_of_test(id) -%}
    {{ return({'relation': id, 'text': graph.nodes[id].raw_code, 'full_refresh': false, 'is_root': false, 'mart': none,
        'parents': graph.nodes[id].depends_on.nodes}) }}
{%- endmacro %}

{% macro records_of_tests(ids) -%}
    {%- if target.type == 'duckdb' and load_relation(tests_passed()) is not none -%}
        {{ return("select test, record from " ~ tests_passed() ~ " where test in (" ~ quoted(ids) ~ ")") }}
    {%- endif -%}
{%- endmacro %}

{% macro record_passed_tests(results) -%}
    {#- on-run-end: records up to which load each test has passed. A build that is killed records nothing. -#}
    {%- if execute and not flags.EMPTY -%}
        {%- set passed = {} -%}
        {%- for result in results if result.node.resource_type == 'test' and result.status == 'pass' -%}
            {%- do passed.update({result.node.unique_id: asked_of_test(result.node.unique_id)}) -%}
        {%- endfor -%}
        {%- if passed and target.type != 'duckdb' -%}
            {%- do record_tests_on_spark(passed) -%}
        {%- elif passed -%}
            {%- set rows = ["(null, null)"] -%}
            {%- set plans = fromjson(run_query("select " ~ plans_of(passed, records_of_tests(passed.keys()))).columns[0][0]) -%}
            {%- for id, plan in plans.items() if plan.record.load is not none -%}
                {%- do rows.append("(" ~ literal(id) ~ ", " ~ literal("refresh: " ~ tojson(plan.record)) ~ ")") -%}
            {%- endfor -%}
            {%- do run_query("create table if not exists " ~ tests_passed() ~ " (test varchar primary key, record varchar)") -%}
            {%- do run_query("insert or replace into " ~ tests_passed() ~ " select * from (values " ~ rows | join(', ')
                ~ ") as passed (test, record) where test is not null") -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro tests_passed() -%} {{ return(ref_by_name('tests_passed')) }} {%- endmacro %}
