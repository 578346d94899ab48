{% macro split_of(event_at) -%}
    {#- train before val_from, val before test_from, test from there on. -#}
    {%- set val_from, test_from = dataset_var('val_from'), dataset_var('test_from') -%}
    {%- if val_from | string >= test_from | string -%}
        {{ exceptions.raise_compiler_error(
            "val_from (" ~ val_from ~ ") must be before test_from (" ~ test_from ~ ") for dataset " ~ var('dataset') ~ ".") }}
    {%- endif -%}
    case
        when {{ event_at }} < timestamp {{ literal(val_from) }} then 'train'
        when {{ event_at }} < timestamp {{ literal(test_from) }} then 'val'
        else 'test'
    end
{%- endmacro %}
