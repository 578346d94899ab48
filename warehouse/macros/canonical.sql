{#- Turns an adapter's columns into the canonical columns: which are optional, and what is an error. -#}

{% macro canonical_columns(source) -%}
    {#- The select list that turns what the adapter `source` has into all canonical columns; an error that names what is wrong. -#}
    {%- if not execute -%}{{ return('*') }}{%- endif -%}
    {%- set required = ['source_file', 'source_row', 'user_id', 'item_id', 'scene', 'event_at', 'label'] -%}
    {%- set optional = ['event_id', 'known_at', 'item_title', 'item_entities', 'user_texts', 'ctx_dense', 'ctx_ids'] -%}
    {%- set types, selected = {}, [] -%}
    {%- for column in adapter.get_columns_in_relation(source) -%}
        {%- do types.update({column.name | lower: column.data_type | lower}) -%}
    {%- endfor -%}
    {%- if types -%}{{ require_canonical(source, types.keys() | list, required, optional) }}{%- endif -%}
    {%- for name in required + optional -%}
        {%- set is_list = name in ('user_texts', 'ctx_dense', 'ctx_ids') -%}
        {%- set missing = array_of([]) if is_list else 'cast(null as string)' -%}
        {#- Before the adapter is built (dbt compile) its columns are unknown, so all are assumed to exist. -#}
        {%- if not types or name in required[:2] -%}{%- do selected.append(name) -%}
        {%- elif name not in types -%}{%- do selected.append(missing ~ ' as ' ~ name) -%}
        {%- else -%}{%- do selected.append(as_canonical(source, name, types[name], is_list) ~ ' as ' ~ name) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set split_entity = element(filtered_list('item_entities', "contains(t, " ~ literal(entity_separator()) ~ ")"), 1) -%}
    {%- do selected.append('cast(' ~ ('source_position' if 'source_position' in types else 'null') ~ ' as bigint) as source_position') -%}
    {%- do selected.append((split_entity if is_list_type(types.get('item_entities', '')) else 'cast(null as string)') ~ ' as split_entity') -%}
    {{ return(selected | join(',\n        ')) }}
{%- endmacro %}

{% macro require_canonical(source, found, required, optional) -%}
    {%- set missing = required | reject('in', found) | list -%}
    {%- set left_out = optional | reject('in', found) | list -%}
    {%- set unknown = found | reject('in', required + optional + ['source_position']) | list -%}
    {%- set there = ", and has " ~ unknown | join(', ') ~ ", which no later model reads" if unknown else "" -%}
    {%- if missing -%}
        {{ exceptions.raise_compiler_error("The adapter " ~ source.identifier ~ " lacks " ~ missing | join(', ') ~ there
            ~ ". Every log has these columns: docs/bring-your-own-log.md says what each is.") }}
    {%- elif left_out and unknown -%}
        {{ exceptions.raise_compiler_error("The adapter " ~ source.identifier ~ " lacks " ~ left_out | join(', ') ~ there
            ~ ". If one is a misspelling of the other, rename it; if not, leave the second out.") }}
    {%- endif -%}
{%- endmacro %}

{% macro as_canonical(source, name, type, is_list) -%}
    {#- A column as text, or as a list of texts. A list of entities is joined by the separator that later models split the text by. -#}
    {%- set is_text = '^(varchar|string|text|char|character varying)( *\\([0-9]+\\))?$' -%}
    {%- set of = type | replace('array<', '') | replace('[]', '') | replace('>', '') -%}
    {%- set gives = "The adapter " ~ source.identifier ~ " gives " ~ name ~ " as " -%}
    {%- if is_list and not is_list_type(type) -%}
        {{ exceptions.raise_compiler_error(gives ~ ('text' if modules.re.match(is_text, type) else type)
            ~ ", expected a list. Write {{ array_of(['a_column', 'another']) }} as " ~ name ~ ", or leave the column out.") }}
    {%- elif name == 'item_entities' and is_list_type(type) and not entity_separator() -%}
        {{ exceptions.raise_compiler_error(gives ~ type ~ ", and vars: datasets: " ~ var('dataset')
            ~ " has no entity_separator. Set it to a character that no entity holds.") }}
    {%- elif name == 'item_entities' and is_list_type(type) -%}
        {{ return(joined_list(filtered_list(name, 't is not null'), entity_separator())) }}
    {%- elif not is_list and is_list_type(type) -%}
        {{ exceptions.raise_compiler_error(gives ~ type
            ~ ", expected a text. Write {{ joined_list('" ~ name ~ "', ' ') }} as " ~ name ~ ", or take one part of it.") }}
    {%- endif -%}
    {{ return(name if modules.re.match(is_text, of) else 'cast(' ~ name ~ ' as ' ~ (array_type('string') if is_list else 'string') ~ ')') }}
{%- endmacro %}

{% macro is_list_type(type) -%} {{ return(type.endswith(']') or type.startswith('array')) }} {%- endmacro %}

{% macro impressions_of(lists) -%}
    {#-
      The impressions that one raw row lists, as a list of structs to be unnested: source_position from 1, and one field for
      each of `lists` ({field: column}, or a list of columns), which are read in parallel. A shorter list is padded with NULLs; if all
      are NULL there is one impression of NULLs, which staging rejects with a reason; if all are empty there is none.
    -#}
    {%- set lengths, fields = [], {'source_position': 't'} -%}
    {%- for field in lists -%}
        {%- set column = lists[field] if lists is mapping else field -%}
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
