{#- Texts are stored once each; an event refers to them by text_id, the hash of a text and of the side it is seen from. -#}

{% macro text_hash(side, text) -%}
    {#- 64 bits, as a bigint: among ten million texts a collision has odds of 1 in 370,000, and a unique test would fail on it. -#}
    {{ engine(duckdb='cast(cast(unhex(%s) as bit) as bigint)', spark='cast(conv(%s, 16, -10) as bigint)')
        % ("substr(md5('" ~ side ~ ":' || " ~ text ~ "), 1, 16)") }}
{%- endmacro %}

{% macro text_id(side, text) -%}
    {#- The id of a text as written in the log; NULL if it is empty. -#}
    case when {{ trimmed(text) }} <> '' then {{ text_hash(side, trimmed(text)) }} end
{%- endmacro %}

{% macro entity_separator() -%} {{ return(dataset_var('entity_separator', '')) }} {%- endmacro %}

{% macro whole_user_text(user_texts) -%}
    {#- The parts of a user's text that aren't blank, joined: entities separated by commas, parts by semicolons. -#}
    {%- set text, separator = joined_list(filtered_list(user_texts, trimmed('t') ~ " <> ''"), '; '), entity_separator() -%}
    {{ "replace(%s, %s, ', ')" % (text, literal(separator)) if separator else text }}
{%- endmacro %}

{% macro split_list(text, separator) -%}
    {#- The distinct, trimmed, non-empty parts of a text, sorted; the text itself is the only part without a separator. -#}
    {%- set parts = engine(duckdb='string_split(%s, %s)' % (text, literal(separator)), spark='split(%s, %s)' % (text, literal('\\Q' ~ separator ~ '\\E')))
        if separator else array_of([text]) -%}
    array_sort(array_distinct({{ filtered_list(transformed_list(parts, trimmed('t')), "t <> ''") }}))
{%- endmacro %}

{% macro has_title() -%} {{ trimmed('item_title') }} <> '' {%- endmacro %}

{% macro has_entities() -%}
    {#- An event's item or user has an entity: more than blanks and separators. -#}
    {%- set texts = "concat(coalesce(item_entities, ''), coalesce(" ~ joined_list('user_texts', ' ') ~ ", ''))" -%}
    {{ trimmed("replace(%s, %s, '')" % (texts, literal(entity_separator())) if entity_separator() else texts) }} <> ''
{%- endmacro %}

{% macro log_has_no_texts() -%}
    {#- Whether `texts` may be empty. -#}
    {{ return(not run_query("select 1 from " ~ ref_by_name('stg_events') ~ " where " ~ has_title() ~ " or " ~ has_entities() ~ " limit 1").rows) }}
{%- endmacro %}
