{#-
  The materialization `by_day`: a table of which a refresh replaces only some days' rows, or to which it only adds (config meta
  refresh: the column that holds the day, or `append`). Without that config a table is rebuilt whole when anything it reads is
  new, and left alone when nothing is. On Spark it is a table like any other.
-#}

{% materialization by_day, adapter='duckdb' %}
    {%- set plan = planned(sql) -%}
    {%- if plan.mode == 'full' -%}
        {%- do forget_model() -%}
        {%- set built = dbt.materialization_table_duckdb() -%}
        {%- do remember_model(plan) -%}
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
    {%- do remember_model(plan) -%}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
{% endmaterialization %}

{% materialization by_day, adapter='spark' %}
    {{ return(dbt.materialization_table_spark()) }}
{% endmaterialization %}

{% macro planned(sql) -%}
    {#- The plan to carry out, announced. Files that change while dbt runs may change the plan after the SQL was made for it. -#}
    {%- set plan = refresh_plan() -%}
    {%- set made_for = '/* refresh ' in sql -%}
    {%- if plan.mode == 'days' and plan_mark() not in sql or plan.mode == 'full' and made_for -%}
        {{ exceptions.raise_compiler_error("Raw files changed while they were read. Run dbt build again.") }}
    {%- endif -%}
    {%- do announce(plan) -%}
    {{ return(plan) }}
{%- endmacro %}

{% macro on_refreshed_days(column) -%}
    {{ at_days(column) if column.endswith('_at') else in_days(column) }}
{%- endmacro %}
