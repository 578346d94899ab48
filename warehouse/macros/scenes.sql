{#- Scenes are data: SQL knows them by their slot, the position in var scenes, never by a name of their own. -#}

{% macro scenes() -%}
    {#- Var scenes. A code that isn't a text would be another one in the mart than in the log: 007 is 7, and `no` is false. -#}
    {%- set codes = dataset_var('scenes') -%}
    {{ require_names('scenes', codes) }}
    {%- if not codes -%}{{ exceptions.raise_compiler_error("var scenes is empty. List the log's scene codes.") }}{%- endif -%}
    {{ return(codes) }}
{%- endmacro %}

{% macro require_names(name, values) -%}
    {%- set known = [] -%}
    {%- if values is string or values is mapping or values is not iterable -%}
        {{ exceptions.raise_compiler_error("var " ~ name ~ " is " ~ values ~ ", expected a list such as [home, search].") }}
    {%- endif -%}
    {%- for value in values -%}
        {%- if value is not string -%}
            {{ exceptions.raise_compiler_error(
                "var " ~ name ~ " holds " ~ value ~ ", which YAML reads as no text. Put it in quotes: " ~ tojson(value | string) ~ ".") }}
        {%- elif not value.strip() or value in known -%}
            {{ exceptions.raise_compiler_error("var " ~ name ~ " holds '" ~ value ~ "', which is "
                ~ ('there twice' if value in known else 'blank') ~ ". Take it out.") }}
        {%- endif -%}
        {%- do known.append(value) -%}
    {%- endfor -%}
{%- endmacro %}

{% macro slots() -%}
    {{ return(range(1, scenes() | length + 1) | list) }}
{%- endmacro %}

{% macro slot_of(scene) -%}
    case {{ scene }}{% for code in scenes() %} when {{ literal(code) }} then {{ loop.index }}{% endfor %} end
{%- endmacro %}

{% macro slot_columns(prefixes, suffixes=['']) -%}
    {#- prefix_1suffix, prefix_2suffix, ... of every prefix and suffix, as a list of names. -#}
    {%- set names = [] -%}
    {%- for prefix in prefixes -%}{%- for slot in slots() -%}{%- for suffix in suffixes -%}
        {%- do names.append(prefix ~ '_' ~ slot ~ suffix) -%}
    {%- endfor -%}{%- endfor -%}{%- endfor -%}
    {{ return(names) }}
{%- endmacro %}

{% macro pivoted_by_scene(daily, key=none) -%}
    {#- Daily counts by key and scene -> one row a key and day: n_<measure> overall and n_<measure>_<slot> of each scene. -#}
    select
        {{ key ~ ',' if key }}
        day as as_of_date,
        sum(n_shown) as n_shown,
        sum(n_impressions) as n_impressions,
        sum(n_clicks) as n_clicks,
        {%- for code in scenes() %}
        coalesce(sum(n_impressions) filter (where scene = {{ literal(code) }}), 0) as n_impressions_{{ loop.index }},
        coalesce(sum(n_clicks) filter (where scene = {{ literal(code) }}), 0) as n_clicks_{{ loop.index }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ daily }}
    group by {{ key ~ ', ' if key }}day
{%- endmacro %}

{% macro scene_counts(measure, window) -%}
    {{ array_of(slot_columns([measure], ['_' ~ window])) }}
{%- endmacro %}

{% macro scene_rates(window, priors=none, prior=none) -%}
    {#- The smoothed rate in each scene; the prior is one value (`prior`) or a list in the order of the scenes (`priors`). -#}
    {%- set rates = [] -%}
    {%- for slot in slots() -%}
        {%- do rates.append(smoothed_rate(
            'n_clicks_' ~ slot ~ '_' ~ window, 'n_impressions_' ~ slot ~ '_' ~ window,
            element(priors, slot) if priors else prior)) -%}
    {%- endfor -%}
    {{ array_of(rates) }}
{%- endmacro %}
