{#- Expressions that differ between DuckDB and Spark SQL (4.x; dbt-spark turns ANSI mode off, so nothing here relies on it). -#}

{% macro engine(duckdb, spark) -%} {{ return(duckdb if target.type == 'duckdb' else spark) }} {%- endmacro %}  {#- the target's word of the two -#}

{% macro literal(text) -%}
    {#- Data reaches SQL only through it. -#}
    '{{ (text | string).replace('\\', engine(duckdb='\\', spark='\\\\')).replace("'", engine(duckdb="''", spark="\\'")) }}'
{%- endmacro %}

{% macro json_of(value) -%} {{ engine(duckdb='cast(%s as json)', spark='parse_json(%s)') % literal(tojson(value)) }} {%- endmacro %}

{% macro struct_of(columns) -%}
    {#- A struct of columns under their own names, or of expressions under the names that a mapping gives them. -#}
    {%- set fields = [] -%}
    {%- for name in columns -%}
        {%- do fields.append(engine(duckdb="%s := %s", spark="'%s', %s") % (name.split('.')[-1], columns[name] if columns is mapping else name)) -%}
    {%- endfor -%}
    {{ engine(duckdb='struct_pack', spark='named_struct') }}({{ fields | join(', ') }})
{%- endmacro %}

{#- ---- Lists; positions count from 1. `transformed_list` and `filtered_list` call an element t. -#}

{% macro array_of(expressions, cast_to=none) -%}
    {#- A list of expressions; one of none is a list of texts, or of what they are cast to. -#}
    {%- set typed = [] -%}
    {%- for each in expressions -%}{%- do typed.append("cast(" ~ each ~ " as " ~ cast_to ~ ")" if cast_to else each) -%}{%- endfor -%}
    {{ engine(duckdb='[%s]', spark='array(%s)') % (typed | join(', ')) if expressions else empty_array(cast_to or 'string') }}
{%- endmacro %}

{% macro array_type(element_type) -%} {{ engine(duckdb='%s[]', spark='array<%s>') % element_type }} {%- endmacro %}
{% macro empty_array(element_type) -%} cast({{ engine(duckdb='[]', spark='array()') }} as {{ array_type(element_type) }}) {%- endmacro %}
{% macro element(array, position) -%} {{ engine(duckdb='list_extract', spark='try_element_at') }}({{ array }}, {{ position }}) {%- endmacro %}
{% macro list_length(list) -%} {{ engine(duckdb='len', spark='array_size') }}({{ list }}) {%- endmacro %}

{% macro transformed_list(list, expression) -%}
    {{ engine(duckdb='list_transform(%s, lambda t: %s)', spark='transform(%s, t -> %s)') % (list, expression) }}
{%- endmacro %}

{% macro filtered_list(list, condition) -%}
    {{ engine(duckdb='list_filter(%s, lambda t: %s)', spark='filter(%s, t -> %s)') % (list, condition) }}
{%- endmacro %}

{% macro joined_list(list, separator) -%}
    {{ engine(duckdb='array_to_string', spark='array_join') }}({{ list }}, {{ literal(separator) }})
{%- endmacro %}

{% macro unnested(list) -%} {{ engine(duckdb='unnest', spark='explode') }}({{ list }}) {%- endmacro %}

{% macro quantiles(value, shares) -%}  {#- a list, exact -#}
    {{ engine(duckdb='quantile_cont(%s, [%s])', spark='percentile(%s, array(%s))') % (value, shares | join(', ')) }}
{%- endmacro %}

{#- ---- Texts, numbers and times -#}

{% macro fully_matches(text, pattern) -%}
    {{ engine(duckdb='regexp_full_match(%s, %s)' % (text, literal(pattern)),
        spark='%s rlike %s' % (text, literal('\\A(?:' ~ pattern ~ ')\\z'))) }}
{%- endmacro %}

{% macro trimmed(text) -%}
    {#- Without blanks at either end. Every Unicode space (category Zs) is a blank, such as U+3000; Spark's trim knows only U+0020. -#}
    {{ engine(duckdb='trim(%s)', spark=
        "btrim(%s, ' \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000')") % text }}
{%- endmacro %}

{% macro number(text) -%}
    {#-
      A double, NULL where the text is none. Java reads '1d' and '0x1p3' as numbers; DuckDB doesn't. Digits may be grouped by
      underscores, as in DuckDB.
    -#}
    {{ engine(duckdb="try_cast({0} as double)", spark="case
        when {0} rlike '(?i)^\\\\s*[-+]?nan\\\\s*$' then cast('nan' as double)
        when {0} rlike '(?i)^\\\\s*[-+]?([0-9_]*[.]?[0-9_]*(e[-+]?[0-9]+)?|inf|infinity)\\\\s*$' then try_cast(replace({0}, '_', '') as double)
    end").format(text) }}
{%- endmacro %}

{% macro spark__safe_cast(field, type) -%}
    {#- What dbt casts the values of a unit test with; Spark casts no text to a list, but reads one as JSON. -#}
    {%- set is_list = type.lower().startswith('array') and field | string | trim | lower != 'null' -%}
    {{ "from_json(%s, '%s')" % (field, type) if is_list else "cast(%s as %s)" % (field, type) }}
{%- endmacro %}

{% macro timestamp_of(text) -%}
    {#- From a text that matches without_zone of time_patterns; NULL on a day that isn't one. Spark's cast knows neither slashes nor runs of blanks. -#}
    try_cast({{ engine(duckdb='trim(%s)', spark="regexp_replace(trim(replace(%s, '/', '-')), ' +', ' ')") % text }} as timestamp)
{%- endmacro %}

{% macro days_between(later, earlier) -%}
    {{ engine(duckdb='cast(%s - %s as integer)', spark='datediff(%s, %s)') % (later, earlier) }}
{%- endmacro %}

{% macro micros(instant) -%} {{ engine(duckdb='epoch_us', spark='unix_micros') }}({{ instant }}) {%- endmacro %}
{% macro instant_of(micros) -%} {{ engine(duckdb='make_timestamp', spark='timestamp_micros') }}({{ micros }}) {%- endmacro %}
