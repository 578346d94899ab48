{% macro dense_inputs(model_name) -%}
    {#-
      Every number that the latest version of a model declares as a feature, in contract order: name and expression. A list
      yields one per position, named as the trainer names it. So a new feature is profiled as soon as the contract has it.
    -#}
    {%- set inputs = [] -%}
    {%- for node in graph.get('nodes', {}).values() if node.resource_type == 'model' and node.name == model_name and node.version == node.latest_version -%}
        {%- for name, column in node.columns.items() -%}
            {%- set meta = (column.config or {}).meta or column.meta -%}
            {%- if meta.role == 'feature' and meta.kind == 'dense' -%}
                {%- do inputs.append({'name': name, 'expression': name}) -%}
            {%- elif meta.role == 'feature' and meta.kind == 'list' and not modules.re.search('string|text|char', column.data_type | lower) -%}
                {%- for of_position in dataset_var(meta.names, []) -%}
                    {%- do inputs.append({'name': name ~ '.' ~ of_position, 'expression': element(name, loop.index)}) -%}
                {%- endfor -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(inputs) }}
{%- endmacro %}

{% macro train_is_touched(plan, news) -%}
    {#- Why every day is profiled again: the train split, which all days are compared with, has changed. -#}
    {{ return(not news.is_current and news.days[0] <= instant_var('val_from')[:10]) }}
{%- endmacro %}
