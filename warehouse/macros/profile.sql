{#- Which numbers of a contract feature_profile covers, and how many rows it samples. -#}

{% macro dense_inputs(model_name) -%}
    {#-
      Every number that the latest version of a model declares as a feature, in contract order: name and expression. A list
      yields one per position, named as the trainer names it. So a new feature is profiled as soon as the contract has it.
    -#}
    {%- set inputs = [] -%}
    {%- if not execute -%}{{ return(inputs) }}{%- endif -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name == model_name
            and node.version == node.latest_version -%}
        {%- for name, column in node.columns.items() -%}
            {%- set meta = column.config.meta if column.config and column.config.meta else column.meta -%}
            {%- if meta.role == 'feature' and meta.kind == 'dense' -%}
                {%- do inputs.append({'name': name, 'expression': name}) -%}
            {%- elif meta.role == 'feature' and meta.kind == 'list' and not is_list_of_text(column.data_type) -%}
                {%- for position_name in dataset_var(meta.names, []) -%}
                    {%- do inputs.append({'name': name ~ '.' ~ position_name, 'expression': element(name, loop.index)}) -%}
                {%- endfor -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(inputs) }}
{%- endmacro %}

{% macro is_list_of_text(data_type) -%}
    {%- set spelled = data_type | lower -%}
    {{ return('string' in spelled or 'text' in spelled or 'varchar' in spelled) }}
{%- endmacro %}

{% macro sampling_steps() -%}
    {#-
      How a day is sampled down to about var profile_rows rows: halved as often as needed. For each step: the largest day that it is
      for, the upper bound of the hash (4 hex digits; 'g' is above them all) and the weight of a sampled row.
    -#}
    {%- set steps = [{'up_to': var('profile_rows') | int, 'bound': 'g', 'weight': 1}] -%}
    {%- for k in range(1, 17) -%}
        {%- do steps.append({
            'up_to': (var('profile_rows') | int) * 2 ** k, 'bound': '%04x' % (65536 // 2 ** k), 'weight': 2 ** k}) -%}
    {%- endfor -%}
    {{ return(steps) }}
{%- endmacro %}
