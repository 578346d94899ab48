{#-
  The materialization `mart` on Spark: the same folders and the same record as in mart.sql, written by Spark.

  The result is computed into a temporary table and counted; only then is it copied over the published mart. The copy removes the
  old record (_build/) first and the new one is written last, so a mart without a record is incomplete and no reader accepts it.
  Unlike on DuckDB a reader may find it in that state: object stores have no atomic rename.

  A table over partitioned files reads 0 rows until its partitions are registered, and every test passes on 0 rows. So the rows
  are counted again through the relation that later models and tests read; the two counts must be equal.
-#}

{% materialization mart, adapter='spark' %}
    {%- set place = absolute_path(marts_dir() ~ '/' ~ this.identifier) -%}
    {%- set partition_by = config.get('partition_by') -%}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set aside = api.Relation.create(schema=this.schema, identifier=this.identifier ~ '__partial', type='table') -%}
    {%- set existing = load_cached_relation(this) -%}

    {{ run_hooks(pre_hooks) }}
    {%- do run_query("drop table if exists " ~ aside) -%}
    {%- call statement('main') -%}
        create table {{ aside }} using parquet {{ location_of(aside.identifier) }} as
        {{ sql }}
    {%- endcall -%}
    {#- The contract is compared with what was made: Spark takes seconds to find out the columns of a long query. -#}
    {%- if config.get('contract').enforced -%}{{ get_assert_columns_equivalent('select * from ' ~ aside) }}{%- endif -%}
    {%- set n_rows = run_query("select count(*) from " ~ aside).columns[0][0] | int -%}
    {%- if n_rows == 0 -%}{{ stop_if_wrongly_empty(place) }}{%- endif -%}

    {%- if existing is not none -%}{%- do adapter.drop_relation(existing) -%}{%- endif -%}
    {%- set columns = adapter.get_columns_in_relation(aside) -%}
    {%- do register_mart(target_relation, columns, partition_by, place) -%}
    {%- set names = columns | map(attribute='name') | reject('equalto', partition_by) | list + ([partition_by] if partition_by else []) -%}
    {%- do run_query("insert overwrite table " ~ target_relation ~ " select " ~ names | join(', ') ~ " from " ~ aside
        ~ (" distribute by " ~ partition_by if partition_by else "")) -%}

    {%- set n_read = run_query("select count(*) from " ~ target_relation).columns[0][0] | int -%}
    {%- if n_read != n_rows -%}
        {{ exceptions.raise_compiler_error(
            this.identifier ~ " reads back " ~ n_read ~ " rows of the " ~ n_rows ~ " that were computed. Are the partitions at "
            ~ place ~ " registered? Nothing may be built on it: it has no build record. Run dbt build again.") }}
    {%- endif -%}
    {%- do run_query("insert overwrite directory " ~ literal(place ~ '/_build')
        ~ " using json options (ignoreNullFields 'false') " ~ record_select(build_record(n_rows))) -%}
    {#- Dropping a table that has a location leaves its files. -#}
    {%- do run_query("insert overwrite table " ~ aside ~ " select " ~ columns | map(attribute='name') | join(', ') ~ " from "
        ~ target_relation ~ " where false") -%}
    {%- do run_query("drop table if exists " ~ aside) -%}

    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{% macro register_mart(relation, columns, partition_by, place) -%}
    {#- Creates a table over the folder `place`: files there stay, and no partition is registered yet. -#}
    {%- set typed = [] -%}
    {%- for column in columns -%}{%- do typed.append(column.name ~ ' ' ~ column.data_type) -%}{%- endfor -%}
    {%- do run_query("drop table if exists " ~ relation) -%}
    {#- static: days that are not in the result are removed, whatever the session's partitionOverwriteMode is -#}
    {%- do run_query("create table " ~ relation ~ " (" ~ typed | join(', ') ~ ") using parquet"
        ~ " options (partitionOverwriteMode 'static')"
        ~ (" partitioned by (" ~ partition_by ~ ")" if partition_by else "") ~ " location " ~ literal(place)) -%}
{%- endmacro %}
