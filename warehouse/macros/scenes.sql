{#- Scenes are data: SQL knows them by their slot, the position in var scenes, never by a name of their own. -#}

{% macro scenes() -%}
    {#- Var scenes, as texts. A value that YAML reads as neither text nor integer was written differently: `no` becomes false. -#}
    {%- set codes, most = dataset_var('scenes'), 300 -%}
    {%- if codes is string or codes is mapping or codes is not iterable or not codes -%}
        {{ exceptions.raise_compiler_error("var scenes is '" ~ codes ~ "', expected a list of codes such as [home, search].") }}
    {%- elif codes | length > most -%}
        {{ exceptions.raise_compiler_error("var scenes lists " ~ codes | length ~ " codes, at most " ~ most ~ " are possible: each has columns"
            ~ " and a part of the model of its own. Group them in the adapter, and carry the codes themselves as one of ctx_ids.") }}
    {%- endif -%}
    {%- for code in codes if code is not string and code is not integer -%}
        {{ exceptions.raise_compiler_error("var scenes holds " ~ code ~ ", which YAML reads neither as a text nor as a whole number."
            ~ " Put every code in quotes.") }}
    {%- endfor -%}
    {%- set texts = codes | map('string') | list -%}
    {%- if texts | unique(true) | list | length < texts | length -%}
        {{ exceptions.raise_compiler_error("var scenes holds a code twice. It has " ~ texts | join(', ') ~ ".") }}
    {%- endif -%}
    {{ return(texts) }}
{%- endmacro %}

{% macro slot_of(scene) -%}
    case {{ scene }}{% for code in scenes() %} when {{ literal(code) }} then {{ loop.index }}{% endfor %} end
{%- endmacro %}

{% macro slot_columns(prefixes, suffix='') -%}
    {#- prefix_1suffix, prefix_2suffix, ... of every prefix, as a list of names. -#}
    {%- set names = [] -%}
    {%- for prefix in prefixes -%}{%- for _ in scenes() -%}{%- do names.append(prefix ~ '_' ~ loop.index ~ suffix) -%}{%- endfor -%}{%- endfor -%}
    {{ return(names) }}
{%- endmacro %}

{% macro counts_by_scene(measures) -%}
    {#- `<measure>_<slot>` of each scene: sums over the rows of that scene alone. -#}
    {%- set sums = [] -%}
    {%- for measure in measures -%}{%- for code in scenes() -%}
        {%- do sums.append("coalesce(sum(%s) filter (where scene = %s), 0) as %s_%d" % (measure, literal(code), measure, loop.index)) -%}
    {%- endfor -%}{%- endfor -%}
    {{ sums | join(',\n        ') }}
{%- endmacro %}

{% macro scene_counts(measure, window) -%} {{ array_of(slot_columns([measure], '_' ~ window)) }} {%- endmacro %}

{% macro scene_rates(window, priors=none, prior=none) -%}
    {#- The smoothed rate in each scene; the prior is one value (`prior`) or a list in the order of the scenes (`priors`). -#}
    {%- set rates, impressions = [], slot_columns(['n_impressions'], '_' ~ window) -%}
    {%- for clicks in slot_columns(['n_clicks'], '_' ~ window) -%}
        {%- do rates.append(smoothed_rate(clicks, impressions[loop.index0], element(priors, loop.index) if priors else prior)) -%}
    {%- endfor -%}
    {{ array_of(rates) }}
{%- endmacro %}
