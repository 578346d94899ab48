{#- Turns an adapter's columns into the canonical columns: which are optional, and what is an error. -#}

{% macro canonical_columns(source) -%}
    {#- The select list that turns what the adapter `source` has into all canonical columns; an error that names what is wrong. -#}
    {%- if not execute -%}{{ return('*') }}{%- endif -%}
    {%- set required = ['source_file', 'source_row', 'user_id', 'item_id', 'scene', 'event_at', 'label'] -%}
    {%- set texts = ['event_id', 'known_at', 'item_title', 'item_entities'] -%}
    {%- set lists = ['user_texts', 'ctx_dense', 'ctx_ids'] -%}
    {%- set types = {} -%}
    {%- for column in adapter.get_columns_in_relation(source) -%}
        {%- do types.update({column.name | lower: column.data_type | lower}) -%}
    {%- endfor -%}
    {%- if types -%}{{ require_canonical(source, types.keys() | list, required, texts + lists) }}{%- endif -%}
    {%- set selected = [] -%}
    {%- for name in required + texts + lists -%}
        {#- Before the adapter is built (dbt compile) its columns are unknown, so all are assumed to exist. -#}
        {%- set type = types.get(name, '') if types else 'any' -%}
        {%- if not type -%}
            {%- do selected.append((array_of([]) if name in lists else 'cast(null as string)') ~ ' as ' ~ name) -%}
        {%- elif name == 'item_entities' and is_list_type(type) -%}
            {%- do selected.append(entities_as_text(source, type) ~ ' as item_entities') -%}
        {%- elif name in lists and type != 'any' -%}
            {%- do selected.append(as_texts(source, name, type) ~ ' as ' ~ name) -%}
        {%- elif name in required[2:] + texts and type != 'any' -%}
            {%- do selected.append(as_text(source, name, type) ~ ' as ' ~ name) -%}
        {%- else -%}
            {%- do selected.append(name) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do selected.append(('cast(source_position as bigint)' if 'source_position' in types else 'cast(null as bigint)')
        ~ ' as source_position') -%}
    {%- do selected.append((entity_that_would_be_split() if is_list_type(types.get('item_entities', '')) else 'cast(null as string)')
        ~ ' as split_entity') -%}
    {{ return(selected | join(',\n        ')) }}
{%- endmacro %}

{% macro require_canonical(source, found, required, optional) -%}
    {%- set missing = required | reject('in', found) | list -%}
    {%- set left_out = optional | reject('in', found) | list -%}
    {%- set unknown = found | reject('in', required + optional + ['source_position']) | list -%}
    {%- set where = "The adapter " ~ source.identifier -%}
    {%- set there = ", and has " ~ unknown | join(', ') ~ ", which no later model reads" if unknown else "" -%}
    {%- if missing -%}
        {{ exceptions.raise_compiler_error(where ~ " lacks " ~ missing | join(', ') ~ there
            ~ ". Every log has these columns: docs/bring-your-own-log.md says what each is.") }}
    {%- elif left_out and unknown -%}
        {{ exceptions.raise_compiler_error(where ~ " lacks " ~ left_out | join(', ') ~ there
            ~ ". If one is a misspelling of the other, rename it; if not, leave the second out.") }}
    {%- endif -%}
{%- endmacro %}

{% macro is_list_type(type) -%} {{ return(type.endswith(']') or type.startswith('array')) }} {%- endmacro %}
{% macro is_text_type(type) -%}
    {{ return(modules.re.match('^(varchar|string|text|char|character varying)( *\\([0-9]+\\))?$', type) is not none) }}
{%- endmacro %}

{% macro as_text(source, name, type) -%}
    {%- if is_list_type(type) -%}
        {{ exceptions.raise_compiler_error("The adapter " ~ source.identifier ~ " gives " ~ name ~ " as " ~ type
            ~ ", expected a text. Write {{ joined_list('" ~ name ~ "', ' ') }} as " ~ name ~ ", or take one part of it.") }}
    {%- endif -%}
    {{ return(name if is_text_type(type) else 'cast(' ~ name ~ ' as string)') }}
{%- endmacro %}

{% macro entities_as_text(source, type) -%}
    {#- A list of entities, joined by the separator that later models split the text by. -#}
    {%- if not dataset_var('entity_separator', '') -%}
        {{ exceptions.raise_compiler_error("The adapter " ~ source.identifier ~ " gives item_entities as " ~ type ~ ", and vars: datasets: "
            ~ var('dataset') ~ " has no entity_separator. Set it to a character that no entity holds.") }}
    {%- endif -%}
    {{ return(joined_list(filtered_list('item_entities', 't is not null'), dataset_var('entity_separator', ''))) }}
{%- endmacro %}

{% macro entity_that_would_be_split() -%}
    {#- An entity of a list that holds the separator itself, or NULL. -#}
    {{ return(element(filtered_list('item_entities', "contains(t, " ~ literal(dataset_var('entity_separator', '')) ~ ")"), 1)) }}
{%- endmacro %}

{% macro as_texts(source, name, type) -%}
    {%- if not is_list_type(type) -%}
        {{ exceptions.raise_compiler_error("The adapter " ~ source.identifier ~ " gives " ~ name ~ " as "
            ~ ('text' if is_text_type(type) else type) ~ ", expected a list. Write {{ array_of(['a_column', 'another']) }} as " ~ name ~ ", or leave the column out.") }}
    {%- endif -%}
    {%- set of = type | replace('array<', '') | replace('[]', '') | replace('>', '') -%}
    {{ return(name if is_text_type(of) else 'cast(' ~ name ~ ' as ' ~ array_type('string') ~ ')') }}
{%- endmacro %}

{% macro impressions_of(lists) -%}
    {#-
      The impressions that one raw row lists, as a list of structs to be unnested: source_position from 1, and one field for
      each of `lists` ({field: column}, or a list of columns), which are read in parallel. A shorter list is padded with NULLs; if all
      are NULL there is one impression of NULLs, which staging rejects with a reason; if all are empty there is none.
    -#}
    {%- set columns = {} -%}
    {%- if lists is mapping -%}{%- do columns.update(lists) -%}
    {%- else -%}{%- for column in lists -%}{%- do columns.update({column: column}) -%}{%- endfor -%}{%- endif -%}
    {%- set lengths, fields = [], {'source_position': 't'} -%}
    {%- for field, column in columns.items() -%}
        {%- do lengths.append(list_length(column)) -%}
        {%- do fields.update({field: element(column, 't')}) -%}
    {%- endfor -%}
    {%- set longest = 'greatest(' ~ lengths | join(', ') ~ ')' if lengths | length > 1 else lengths[0] -%}
    {{ transformed_list(positions('coalesce(' ~ longest ~ ', 1)'), struct_of(fields)) }}
{%- endmacro %}

{% macro stop_if_rows_share_a_key() -%}
    {#- One raw row gave several events at one position: an adapter that unnests without the position, or joins to several rows. -#}
    {%- if execute -%}
        {%- set shared = run_query("select source_file, source_row, source_position, count(*) as n from " ~ this ~ " where "
            ~ in_new_files() ~ " group by source_file, source_row, source_position having count(*) > 1"
            ~ " order by source_file, source_row limit 1").rows -%}
        {%- if shared -%}
            {%- set adapter_model = 'src_' ~ adapter_name() -%}
            {{ exceptions.raise_compiler_error(adapter_model ~ " gives " ~ shared[0]['n'] ~ " events for row "
                ~ shared[0]['source_row'] ~ " of " ~ shared[0]['source_file'] ~ ", all with source_position "
                ~ shared[0]['source_position'] ~ ". If it takes a list apart, it must pass on each event's position in the list"
                ~ " as source_position: docs/bring-your-own-log.md, \"One row per list of impressions\". If it doesn't, a join in it"
                ~ " meets several rows of a lookup.") }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
