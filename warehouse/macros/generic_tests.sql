{% test unique_key(model, columns) %}
    {#- No two rows share the key made of all `columns`. -#}
    select {{ columns | join(', ') }}, count(*) as n_rows
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
{% endtest %}

{% test not_empty(model) %}
    {#- Uniqueness tests pass on a table without rows; this one doesn't. -#}
    {{ config(meta={'every_row': true}) }}
    select count(*) as n_rows
    from {{ model }}
    having count(*) = 0
{% endtest %}

{% macro is_built(relation) -%}
    {#- Whether a model's table is there: a test of several models can be selected by a build of only some of them. -#}
    {{ return(not execute or load_relation(relation) is not none) }}
{%- endmacro %}
