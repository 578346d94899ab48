{#- Texts are stored once each; an event refers to them by text_id, the hash of a text and of the side it is seen from. -#}

{% macro text_hash(side, text) -%}
    {#- 64 bits, in hex: two of ten million texts share one with odds of 1 in 370,000, and then a unique test says so. -#}
    substr(md5('{{ side }}:' || {{ text }}), 1, 16)
{%- endmacro %}

{% macro text_id(side, text) -%}
    {#- The id of a text as it stands in the log; NULL if it is empty. -#}
    case when {{ trimmed(text) }} <> '' then {{ text_hash(side, trimmed(text)) }} end
{%- endmacro %}

{% macro whole_user_text(user_texts) -%}
    {#- The parts of a user's text in one: entities parted by commas, parts by semicolons. -#}
    {{ replaced_in_list(joined_list(user_texts, '; '), dataset_var('entity_separator', none)) }}
{%- endmacro %}

{% macro replaced_in_list(text, separator) -%}
    {%- if separator -%} replace({{ text }}, {{ literal(separator) }}, ', ') {%- else -%} {{ text }} {%- endif -%}
{%- endmacro %}

{% macro with_text_ids(events) -%}
    {#- The rows of `events` with the ids of their texts: title, item entities, user entities and the whole user text. -#}
    {%- set n_parts = dataset_var('user_text_parts', []) | length -%}
    {%- set of_user = [] -%}
    {%- for i in range(n_parts) -%}{%- do of_user.append('of_user_' ~ i ~ '.text_ids') -%}{%- endfor %}
    select
        {{ events }}.*,
        {{ text_id('title', events ~ '.item_title') }} as item_title_text_id,
        coalesce(of_item.text_ids, {{ empty_array('string') }}) as item_entity_text_ids,
        {{ union_of_lists(of_user) }} as user_entity_text_ids,
        {{ whole_user_text(events ~ '.user_texts') }} as whole_user_text
    from {{ events }}
    left join {{ ref('int_entity_lists') }} as of_item on {{ events }}.item_entities = of_item.entity_list
    {%- for i in range(n_parts) %}
    left join {{ ref('int_entity_lists') }} as of_user_{{ i }}
        on {{ element(events ~ '.user_texts', i + 1) }} = of_user_{{ i }}.entity_list
    {%- endfor %}
{%- endmacro %}
