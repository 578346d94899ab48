{% test unique_key(model, columns) %}
    {#- No two rows share the key made of all `columns`. -#}
    select {{ columns | join(', ') }}, count(*) as n_rows
    from {{ model }}
    group by {{ columns | join(', ') }}
    having count(*) > 1
{% endtest %}
