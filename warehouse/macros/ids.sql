{#- One spelling per id, whatever type or file it came from, and which values are not ids (docs/bring-your-own-log.md). -#}

{% macro id_of(text) -%}
    {#- The text; a whole number loses the zero fraction that a float column gave it: 1001.0 becomes 1001, and 007 stays 007. -#}
    case when contains({{ text }}, '.') then {{ adapter.dispatch('without_zero_fraction')(text) }} else {{ text }} end
{%- endmacro %}
{% macro duckdb__without_zero_fraction(text) -%}
    regexp_replace(regexp_replace({{ text }}, '^-(0+[.]0*)$', '\1'), '^([-+]?[0-9]+)[.]0*$', '\1')
{%- endmacro %}

{% macro is_no_id(id) -%}
    {#-
      A number with a fraction, NaN, infinity or an exponent: what remains of an id that went through a float column. Few ids
      contain one of these letters, and only those are matched.
    -#}
    (
        (contains({{ id }}, '.') or contains({{ id }}, 'e') or contains({{ id }}, 'E') or contains({{ id }}, 'n')
            or contains({{ id }}, 'N'))
        and {{ is_whole_match(id, '[-+]?(([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?|(?i:nan|inf|infinity))') }}
    )
{%- endmacro %}

{% macro is_nan(id) -%} (length({{ id }}) between 3 and 4 and {{ is_whole_match(id, '[-+]?(?i:nan)') }}) {%- endmacro %}

{% macro ids_of(list) -%}
    {#- A list of ids in one spelling each; NaN, which a float column has for a missing value, becomes NULL. -#}
    {{ transformed_list(list, "case when not " ~ is_nan('t') ~ " then " ~ id_of('t') ~ " end") }}
{%- endmacro %}

{% macro first_no_id(list) -%}
    {#- The first element that is not an id, or NULL. -#}
    {{ element(filtered_list(list, is_no_id('t')), 1) }}
{%- endmacro %}

{% macro truth(text) -%}
    {#- 0 or 1 from a label's text, which may be true or false; another number as it is, NULL for another text. -#}
    case lower({{ text }}) when 'true' then 1.0 when 'false' then 0.0 else {{ number(text) }} end
{%- endmacro %}

{% macro is_whole_match(text, pattern) -%} {{ adapter.dispatch('is_whole_match')(text, pattern) }} {%- endmacro %}
{% macro duckdb__is_whole_match(text, pattern) -%} regexp_full_match({{ text }}, {{ literal(pattern) }}) {%- endmacro %}

{% macro filtered_list(list, condition) -%} {{ adapter.dispatch('filtered_list')(list, condition) }} {%- endmacro %}
{% macro duckdb__filtered_list(list, condition) -%} list_filter({{ list }}, lambda t: {{ condition }}) {%- endmacro %}

{% macro spark__without_zero_fraction(text) -%}
    regexp_replace(regexp_replace({{ text }}, '^-(0+[.]0*)$', '$1'), '^([-+]?[0-9]+)[.]0*$', '$1')
{%- endmacro %}
{% macro spark__is_whole_match(text, pattern) -%} {{ text }} rlike {{ literal('^(?:' ~ pattern ~ ')$') }} {%- endmacro %}
{% macro spark__filtered_list(list, condition) -%} filter({{ list }}, t -> {{ condition }}) {%- endmacro %}
