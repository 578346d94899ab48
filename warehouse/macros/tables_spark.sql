{#-
  Where Spark keeps a table. Without a location a table's folder must not exist yet, and a build that was killed while it wrote one has
  left a folder without a table. With one, what is there is overwritten.
-#}

{% macro spark__location_clause() -%}  {#- overrides dbt's macro -#}
    {{ location_of(this.identifier) }}
{%- endmacro %}

{% macro location_of(name) -%}
    {%- do run_query("set spark.sql.legacy.allowNonEmptyLocationInCTAS = true") -%}
    {%- set schema = run_query("describe schema " ~ this.schema).rows | selectattr(0, 'equalto', 'Location') | first -%}
    location {{ literal((config.get('location_root') or schema[1]) ~ '/' ~ name) }}
{%- endmacro %}
