{#- Values out of texts: one spelling per id, whatever type or file it came from; which are no ids; numbers and labels. -#}

{% macro id_of(text) -%}
    {#- The text; a whole number loses the zero fraction that a float column gave it: 1001.0 becomes 1001, and 007 stays 007. -#}
    case
        when not contains({{ text }}, '.') then {{ text }}
        when {{ fully_matches(text, '-0+[.]0*') }} then split_part(substr({{ text }}, 2), '.', 1)
        when {{ fully_matches(text, '[-+]?[0-9]+[.]0*') }} then split_part({{ text }}, '.', 1)
        else {{ text }}
    end
{%- endmacro %}

{% macro is_no_id(id) -%}
    {#-
      A number with a fraction, NaN, infinity or an exponent: what remains of an id that went through a float column. Few ids
      contain one of these letters, and only those are matched.
    -#}
    ({% for sign in '.eEnN' %}{{ '(' if loop.first else ' or ' }}contains({{ id }}, '{{ sign }}'){% endfor %}) and
        {{ fully_matches(id, '[-+]?(([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?|(?i:nan|inf|infinity))') }})
{%- endmacro %}

{% macro ids_of(list) -%}
    {#- A list of ids in one spelling each; NaN, which a float column has for a missing value, becomes NULL. -#}
    {%- set is_nan = "length(t) between 3 and 4 and " ~ fully_matches('t', '[-+]?(?i:nan)') -%}
    {{ transformed_list(list, "case when not (" ~ is_nan ~ ") then " ~ id_of('t') ~ " end") }}
{%- endmacro %}

{% macro truth(text) -%}
    {#- 0 or 1 from a label's text, which may be true or false; another number as it is, NULL for another text. -#}
    case lower({{ text }}) when 'true' then 1.0 when 'false' then 0.0 else {{ number(text) }} end
{%- endmacro %}

{% macro blank_to_null(text) -%} case when {{ trimmed(text) }} <> '' then {{ text }} end {%- endmacro %}

{% macro numbers(texts) -%}
    {#- A list of numbers from a list of texts; an empty text or NaN is missing, anything else unreadable becomes infinite. -#}
    {%- set value -%}
    case
        when t is null or {{ trimmed('t') }} = '' then null
        when isnan({{ number('t') }}) then null
        else coalesce({{ number('t') }}, cast('inf' as double))
    end
    {%- endset -%}
    {{ transformed_list(texts, value) }}
{%- endmacro %}
