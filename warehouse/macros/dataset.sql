{#- The one place that reads a dataset's block of vars. -#}

{% macro dataset_var(name, default) -%}
    {#- A var given on the command line wins over the dataset's block in dbt_project.yml, and that over a var for all datasets. -#}
    {%- set is_unit_test = model is defined and model.resource_type == 'unit_test' -%}  {#- whose overrides only var() knows -#}
    {%- set given = var(name, none) if is_unit_test else invocation_args_dict.get('vars', {}).get(name) -%}
    {%- if given is not none -%}{{ return(given) }}{%- endif -%}
    {%- set blocks = var('datasets') -%}
    {%- if var('dataset') not in blocks -%}
        {{ exceptions.raise_compiler_error("var dataset is '" ~ var('dataset') ~ "', but dbt_project.yml has blocks for " ~ blocks.keys() | join(', ')
            ~ " only. Add a block under vars: datasets: (docs/bring-your-own-log.md) or correct the name.") }}
    {%- endif -%}
    {%- set block = blocks[var('dataset')] -%}
    {%- set value = block[name] if name in block else var(name, default) -%}
    {%- if value is undefined -%}
        {{ exceptions.raise_compiler_error("vars: datasets: " ~ var('dataset') ~ " in dbt_project.yml lacks '" ~ name ~ "'. It has "
            ~ block.keys() | join(', ') ~ ".") }}
    {%- endif -%}
    {{ return(value) }}
{%- endmacro %}

{% macro adapter_name() -%} {{ return(dataset_var('adapter', var('dataset'))) }} {%- endmacro %}
{% macro is_adapter(name) -%} {{ return(adapter_name() == name) }} {%- endmacro %}
{% macro raw_dir() -%} {{ return(dataset_var('raw_dir', 'data/raw/' ~ var('dataset'))) }} {%- endmacro %}

{% macro marts_dir() -%}
    {#- A model that differs by protocol goes to the protocol's own folder, next to that of protocol time. -#}
    {%- set suffix = '-' ~ protocol() if protocol_schema() and model.config.schema == protocol_schema() else '' -%}
    {{ return(var('marts_dir', 'data/marts/' ~ var('dataset')) ~ suffix) }}
{%- endmacro %}

{#- A relation of the models' schema, for SQL that isn't part of a model: the edge in the lineage is made by the model. -#}
{% macro ref_by_name(name) -%} {{ return(api.Relation.create(database=target.get('database'), schema=target.schema, identifier=name)) }} {%- endmacro %}
