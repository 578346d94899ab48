{#-
  Data tests in a refresh (DuckDB): `dbt build` tests the rows that are new since the test last passed, not the whole history again.
  A test that fails isn't recorded, so the rows it failed on are tested until it passes. `dbt test` always tests every row.
-#}

{% macro duckdb__get_where_subquery(relation) -%}
    {#- Overrides dbt's macro: which rows of its model a generic test reads. -#}
    {%- set conditions = [config.get('where')] if config.get('where') else [] -%}
    {%- set scope = test_scope() -%}
    {%- set tested = graph.nodes.get(model.get('attached_node')) if execute else none -%}
    {%- if tested and scope.mode != 'full' and not config.get('meta', {}).get('every_row') -%}
        {%- set column = (tested.config.meta or {}).get('refresh') -%}
        {%- if scope.mode == 'none' -%}
            {%- do conditions.append('false') -%}
        {%- elif tested.name in ('parsed_events', 'rejected_events') -%}
            {%- do conditions.append('source_file in (' ~ quoted(scope.files) ~ ')') -%}
        {%- elif column and column not in ('append', 'merge') and not (tested.config.meta or {}).get('merged_base_days') -%}
            {%- do conditions.append(in_dates('cast(' ~ column ~ ' as date)' if column.endswith('_at') else column, scope.days)) -%}
        {%- endif -%}
    {%- endif -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ conditions | join(' and ') ~ ') dbt_subquery' if conditions else relation) }}
{%- endmacro %}

{% macro in_tested_days(day) -%}
    {#- The same for a test written in SQL. -#}
    {%- set scope = test_scope() -%}
    {{ {'full': 'true', 'none': 'false'}.get(scope.mode) or in_dates(day, scope.days) }}
{%- endmacro %}

{% macro quoted(texts) -%}
    {%- for text in texts %}{{ literal(text) }}{{ ', ' if not loop.last }}{% else %}null{% endfor -%}
{%- endmacro %}

{% macro test_scope() -%}
    {#- full, none, or the days and raw files that came since the test passed, including what this build has recomputed. -#}
    {%- if not execute or target.type != 'duckdb' or model.resource_type != 'test' or flags.WHICH != 'build' -%}
        {{ return({'mode': 'full'}) }}
    {%- endif -%}
    {%- if not model.get('test_scope') -%}
        {%- set upstream = state_of_parents(model.unique_id, recorded_models(), recorded_views()) -%}
        {%- set passed = state_rows('tests', 'load, fingerprint', 'test = ' ~ literal(model.unique_id)) -%}
        {%- set scope = {'mode': 'full', 'days': [], 'files': []} -%}
        {%- if passed and passed[0]['fingerprint'] == test_fingerprint(model, upstream) and not upstream.is_rebuilt -%}
            {%- set new = loads_between(passed[0]['load'], upstream.load) -%}
            {%- set days = (new.days + upstream.days) | unique | sort | list -%}
            {%- if not new.is_full -%}
                {%- do scope.update({'mode': 'days' if days else 'none', 'days': days, 'files': new.files}) -%}
            {%- endif -%}
            {%- if new.files and not days and not new.is_full -%}{%- do scope.update({'mode': 'full'}) -%}{%- endif -%}
        {%- endif -%}
        {%- do model.update({'test_scope': scope}) -%}
    {%- endif -%}
    {{ return(model.test_scope) }}
{%- endmacro %}

{% macro test_fingerprint(test, upstream) -%}
    {{ return(local_md5(tojson([test.raw_code, upstream.fingerprints]))) }}
{%- endmacro %}

{% macro record_passed_tests(results) -%}
    {#- on-run-end: records up to which load each test has passed. A build that is killed records nothing. -#}
    {%- if execute and target.type == 'duckdb' -%}
        {%- set records, views, notes, names = recorded_models(), recorded_views(), [], [] -%}
        {%- for result in results if result.node.resource_type == 'test' and result.status == 'pass' -%}
            {%- set test = graph.nodes[result.node.unique_id] -%}
            {%- set upstream = state_of_parents(test.unique_id, records, views) -%}
            {%- if upstream.load is not none -%}
                {%- do names.append(test.unique_id) -%}
                {%- do notes.append('(' ~ literal(test.unique_id) ~ ', ' ~ upstream.load ~ ', '
                    ~ literal(test_fingerprint(test, upstream)) ~ ')') -%}
            {%- endif -%}
        {%- endfor -%}
        {%- if notes -%}
            {%- do run_query('delete from ' ~ state_table('tests') ~ ' where test in (' ~ quoted(names) ~ ')') -%}
            {%- do run_query('insert into ' ~ state_table('tests') ~ ' values ' ~ notes | join(', ')) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
