{#- Turns an adapter's columns into the canonical columns: which are optional, and what is an error. -#}

{% macro canonical_columns(source) -%}
    {#- The select list: texts, or lists of texts, of all columns that the adapter `source` has, and NULLs for those that it lacks. -#}
    {%- if not execute -%}{{ return('*') }}{%- endif -%}
    {%- set required, lists = ['user_id', 'item_id', 'scene', 'event_at', 'label'], ['user_texts', 'ctx_dense', 'ctx_ids'] -%}
    {%- set optional, types, selected = ['event_id', 'known_at', 'item_title', 'item_entities'] + lists, {}, ['source_file', 'source_row'] -%}
    {%- for column in adapter.get_columns_in_relation(source) -%}{%- do types.update({column.name | lower: column.data_type | lower}) -%}{%- endfor -%}
    {#- Before the adapter is built (dbt compile) its columns are unknown, so all are assumed to exist. -#}
    {%- if types -%}{%- do require_canonical(source.identifier, types.keys() | list, selected + required, optional) -%}{%- endif -%}
    {%- for name in required + optional -%}
        {%- set missing = empty_array('string') if name in lists else 'cast(null as string)' -%}
        {%- set column = as_canonical(source.identifier, name, types[name], name in lists) if name in types else missing if types else name -%}
        {%- do selected.append(column ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- set split_entity = element(filtered_list('item_entities', "contains(t, " ~ literal(entity_separator()) ~ ")"), 1) -%}
    {%- do selected.append('cast(' ~ ('source_position' if 'source_position' in types else 'null') ~ ' as bigint) as source_position') -%}
    {%- do selected.append((split_entity if is_list_type(types.get('item_entities', '')) else 'cast(null as string)') ~ ' as split_entity') -%}
    {{ return(selected | join(',\n        ')) }}
{%- endmacro %}

{% macro require_canonical(name, found, required, optional) -%}
    {%- set missing, left_out = required | reject('in', found) | list, optional | reject('in', found) | list -%}
    {%- set unknown = found | reject('in', required + optional + ['source_position']) | list -%}
    {%- if missing or left_out and unknown -%}
        {{ exceptions.raise_compiler_error("The adapter " ~ name ~ " lacks " ~ (missing or left_out) | join(', ')
            ~ (", and has " ~ unknown | join(', ') ~ ", which no later model reads" if unknown) ~ (
            ". Every log has these columns: docs/bring-your-own-log.md says what each is." if missing
            else ". If one is a misspelling of the other, rename it; if not, leave the second out.")) }}
    {%- endif -%}
{%- endmacro %}

{% macro as_canonical(source, name, type, is_list) -%}
    {#- A column as text, or as a list of texts. A list of entities is joined by the separator that later models split the text by. -#}
    {%- set found, separator = is_list_type(type), entity_separator() -%}
    {%- set gives = "The adapter " ~ source ~ " gives " ~ name ~ " as " ~ ('text' if type.partition('(')[0] in ('varchar', 'character varying', 'string') else type) -%}
    {%- if is_list and not found -%}
        {{ exceptions.raise_compiler_error(gives ~ ", expected a list. Write {{ array_of(['a_column', 'another']) }} as " ~ name
            ~ ", or leave the column out.") }}
    {%- elif found and name == 'item_entities' and not separator -%}
        {{ exceptions.raise_compiler_error(gives ~ ", and vars: datasets: " ~ var('dataset')
            ~ " has no entity_separator. Set it to a character that no entity holds.") }}
    {%- elif found and not is_list and name != 'item_entities' -%}
        {{ exceptions.raise_compiler_error(gives ~ ", expected a text. Write {{ joined_list('" ~ name ~ "', ' ') }} as " ~ name
            ~ ", or take one part of it.") }}
    {%- endif -%}
    {{ return(joined_list(filtered_list(name, 't is not null'), separator) if found and not is_list
        else 'cast(' ~ name ~ ' as ' ~ (array_type('string') if is_list else 'string') ~ ')') }}
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
    {%- set n = 'coalesce(' ~ ('greatest(' ~ lengths | join(', ') ~ ')' if lengths | length > 1 else lengths[0]) ~ ', 1)' -%}
    {#- Spark's sequence(1, 0) would count down. -#}
    {%- set positions = engine(duckdb='range(1, {0} + 1)', spark='case when {0} > 0 then sequence(1, {0}) else array() end').format(n) -%}
    {{ transformed_list(positions, struct_of(fields)) }}
{%- endmacro %}

{% macro stop_if_rows_share_a_key() -%}
    {#- One raw row gave several events at one position: an adapter that unnests without the position, or joins to several rows. -#}
    {%- set shared = run_query("select source_file, source_row, source_position, count(*) as n from " ~ this ~ " where " ~ in_new_files()
        ~ " group by source_file, source_row, source_position having count(*) > 1 order by source_file, source_row limit 1").rows
        if execute -%}
    {%- if shared -%}
        {{ exceptions.raise_compiler_error("src_{} gives {n} events for row {source_row} of {source_file}, all with source_position"
            " {source_position}. If it takes a list apart, it must pass on each event's position in the list as source_position:"
            " docs/bring-your-own-log.md, \"One row per list of impressions\". If it doesn't, a join in it meets several rows of a"
            " lookup.".format(adapter_name(), **shared[0].dict())) }}
    {%- endif -%}
{%- endmacro %}
