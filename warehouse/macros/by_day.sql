{#-
  The materialization `by_day`: a table of which a refresh replaces the rows of some days, or to which it only appends (config
  meta refresh: the column that holds the day, or `append`). Without that config a table is rebuilt in full when anything it reads
  is new, and left alone when nothing is. On Spark it is an ordinary table.
-#}

{% materialization by_day, adapter='duckdb' %}
    {%- set plan = checked_plan(sql) -%}
    {%- if plan.mode == 'full' -%}
        {%- do delete_model_record() -%}
        {%- set built = dbt.materialization_table_duckdb() -%}
        {%- do record_model(plan) -%}
        {{ return(built) }}
    {%- endif -%}

    {%- if plan.mode == 'days' and config.get('contract').enforced -%}{{ get_assert_columns_equivalent(sql) }}{%- endif -%}
    {%- if model.name == 'rejected_events' -%}{%- do plan.update({'n_repeats': n_repeats_of_old_files()}) -%}{%- endif -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- call statement('main') -%}
        {%- if plan.mode == 'none' %}
        select 'current'
        {%- else %}
        {%- if refreshed_column() != 'append' %}
        delete from {{ this }} where {{ on_refreshed_days(refreshed_column()) }};
        {%- endif %}
        insert into {{ this }} by name {{ sql }}
        {%- endif %}
    {%- endcall -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do record_model(plan) -%}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
{% endmaterialization %}

{% materialization by_day, adapter='spark' %}
    {{ return(dbt.materialization_table_spark()) }}
{% endmaterialization %}

{% macro checked_plan(sql) -%}
    {#- Logs and returns the plan. If raw files changed while dbt ran, the plan may have changed after the SQL was compiled for it: an error. -#}
    {%- set plan = refresh_plan() -%}
    {%- set made_for = '/* refresh ' in sql -%}
    {%- if plan.mode == 'days' and plan_mark() not in sql or plan.mode == 'full' and made_for -%}
        {{ exceptions.raise_compiler_error("Raw files changed while they were read. Run dbt build again.") }}
    {%- endif -%}
    {%- do log_plan(plan) -%}
    {{ return(plan) }}
{%- endmacro %}

{% macro on_refreshed_days(column) -%}
    {{ at_days(column) if column.endswith('_at') else in_days(column) }}
{%- endmacro %}
