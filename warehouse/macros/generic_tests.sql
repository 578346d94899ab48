{#- A model's columns are tested together: on Spark every test is a job or more, and on any engine a node of the build. -#}

{% test unique_key(model, columns, not_null=[]) %}
    {#- No two rows share the key made of all `columns`, and no row has a NULL in the columns `not_null`. -#}
    {%- set others = not_null | reject('in', columns) | list %}
    select
        {{ columns | join(', ') }},
        count(*) as n_rows
        {%- for name in others %},
        count(*) - count({{ name }}) as n_without_{{ name }}
        {%- endfor %}
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
        {%- for name in not_null %} or {{ "count(" ~ name ~ ") < count(*)" if name in others else name ~ " is null" }}{% endfor %}
{% endtest %}

{% test never_null(model, columns) %}
    select {{ columns | join(', ') }}
    from {{ model }}
    where {{ columns | join(' is null or ') }} is null
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
