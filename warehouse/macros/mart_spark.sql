{#-
  The materialization `mart` on Spark: the same folders and the same record as in mart.sql, written and published by warehouse/spark/marts.py.

  A table over partitioned files reads 0 rows until its partitions are registered, and every test passes on 0 rows. So the rows
  are counted again through the relation that later models and tests read; the two counts must be equal.
-#}

{% materialization mart, adapter='sparkpython' %}
    {%- set place = adapter.python('uri_of', marts_dir() ~ '/' ~ this.identifier) -%}
    {%- set partition_by = config.get('partition_by') -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set plan = refresh_plan() -%}

    {{ run_hooks(pre_hooks) }}
    {%- if existing is not none and (flags.EMPTY or plan.is_current and not plan.is_full) -%}
        {%- call statement('main') -%} {{ 'select * from (' ~ sql ~ ') limit 0' if flags.EMPTY else "select 'nothing is new'" }} {%- endcall -%}
    {%- else -%}
        {%- set written = adapter.python('write_mart', sql, place, partition_by, plan.days if partition_by and not plan.is_full else none) -%}
        {%- call statement('main') -%} select {{ written.n_rows }} as n_rows {%- endcall -%}
        {%- if config.get('contract').enforced -%}{{ get_assert_columns_equivalent(written.select) }}{%- endif -%}
        {%- if written.n_rows == 0 -%}{{ stop_if_wrongly_empty(place) }}{%- endif -%}
        {%- do adapter.python('publish_mart', written, place, build_record(written.n_rows)) -%}
        {%- if plan.is_full or existing is none -%}
            {%- if existing is not none -%}{%- do adapter.drop_relation(existing) -%}{%- endif -%}
            {%- do register_mart(target_relation, written.ddl, partition_by, place) -%}
        {%- endif -%}
        {%- do run_query("refresh table " ~ target_relation) -%}
        {%- if partition_by and run_query("set spark.sql.hive.manageFilesourcePartitions").columns[1][0] == 'true' -%}
            {%- do run_query("msck repair table " ~ target_relation ~ " sync partitions") -%}
        {%- endif -%}

        {%- set n_read = run_query("select count(*) from " ~ target_relation).columns[0][0] | int -%}
        {%- if n_read != written.n_rows -%}
            {%- do adapter.python('withdraw_mart', place) -%}
            {{ exceptions.raise_compiler_error(
                this.identifier ~ " reads back " ~ n_read ~ " rows of the " ~ written.n_rows ~ " that were computed. Are the partitions at "
                ~ place ~ " registered? Nothing may be built on it: it has no build record. Run dbt build again.") }}
        {%- endif -%}
    {%- endif -%}

    {{ run_hooks(post_hooks) }}
    {%- if not flags.EMPTY and is_refreshed() -%}{%- do adapter.python('write_record', this, 'table', new_record()) -%}{%- endif -%}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% macro register_mart(relation, columns, partition_by, place) -%}
    {#- Creates a table over the folder `place`: files there stay, and no partition is registered yet. -#}
    {%- do run_query("drop table if exists " ~ relation) -%}
    {%- do run_query("create table " ~ relation ~ " (" ~ columns ~ ") using parquet"
        ~ (" partitioned by (" ~ partition_by ~ ")" if partition_by else "") ~ " location " ~ literal(place)) -%}
{%- endmacro %}
