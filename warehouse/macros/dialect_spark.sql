{#- The Spark side of dialect.sql (Spark 4.x; dbt-spark turns ANSI mode off, so nothing here relies on it). -#}

{% macro spark__literal(text) -%}
    {#- A backslash escapes in Spark's literals. -#}
    '{{ text.replace("\\", "\\\\").replace("'", "\\'") }}'
{%- endmacro %}

{% macro spark__array_of(expressions) -%} array({{ expressions | join(', ') }}) {%- endmacro %}

{% macro spark__element(array, position) -%} try_element_at({{ array }}, {{ position }}) {%- endmacro %}

{% macro spark__array_type(element_type) -%} array<{{ element_type }}> {%- endmacro %}

{% macro spark__fully_matches(text, pattern) -%} {{ text }} rlike {{ literal('\\A(?:' ~ pattern ~ ')\\z') }} {%- endmacro %}

{% macro spark__timestamp_of(text) -%}
    {#- Spark's cast knows neither slashes nor runs of blanks. -#}
    try_cast(regexp_replace(trim(replace({{ text }}, '/', '-')), ' +', ' ') as timestamp)
{%- endmacro %}

{% macro spark__utc_now() -%} current_timestamp() {%- endmacro %}

{% macro spark__plus_seconds(instant, seconds) -%} {{ instant }} + make_dt_interval(0, 0, 0, {{ seconds }}) {%- endmacro %}

{% macro spark__days_between(later, earlier) -%} datediff({{ later }}, {{ earlier }}) {%- endmacro %}

{% macro spark__number(text) -%}
    {#- Java reads '1d' and '0x1p3' as numbers; DuckDB doesn't. Digits may be grouped by underscores, as in DuckDB. -#}
    case
        when {{ text }} rlike '(?i)^\\s*[-+]?nan\\s*$' then cast('nan' as double)
        when {{ text }} rlike '(?i)^\\s*[-+]?([0-9_]*[.]?[0-9_]*(e[-+]?[0-9]+)?|inf|infinity)\\s*$'
            then try_cast(replace({{ text }}, '_', '') as double)
    end
{%- endmacro %}

{% macro spark__holds_infinity(numbers) -%} exists({{ numbers }}, t -> abs(t) = double('inf')) {%- endmacro %}

{% macro spark__trimmed(text) -%}
    {#- Spark's trim removes U+0020 only. These are the spaces of Unicode (category Zs). -#}
    btrim({{ text }}, ' \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000')
{%- endmacro %}

{% macro spark__list_length(list) -%} array_size({{ list }}) {%- endmacro %}

{% macro spark__bits_of_hex(digits) -%} cast(conv({{ digits }}, 16, -10) as bigint) {%- endmacro %}

{% macro spark__row_hash(columns) -%} xxhash64({{ columns }}) {%- endmacro %}

{% macro spark__joined_list(list, separator) -%} array_join({{ list }}, {{ literal(separator) }}) {%- endmacro %}

{% macro spark__union_of_lists(lists) -%} array_sort(array_distinct(concat({{ lists | join(', ') }}))) {%- endmacro %}

{% macro spark__split_text(text, separator) -%}
    split({{ text }}, {{ literal('\\Q' ~ separator ~ '\\E') }})
{%- endmacro %}

{% macro spark__distinct_parts(parts) -%}
    array_sort(array_distinct(filter(transform({{ parts }}, t -> {{ trimmed('t') }}), t -> t <> '')))
{%- endmacro %}

{% macro spark__without_blanks(texts) -%} filter({{ texts }}, t -> {{ trimmed('t') }} <> '') {%- endmacro %}

{% macro spark__transformed_list(list, expression) -%} transform({{ list }}, t -> {{ expression }}) {%- endmacro %}

{% macro spark__positions(n) -%}
    {#- A sequence from 1 to 0 would count down. -#}
    case when {{ n }} > 0 then sequence(1, {{ n }}) else array() end
{%- endmacro %}

{% macro spark__unnested(list) -%} explode({{ list }}) {%- endmacro %}

{% macro spark__micros(instant) -%} unix_micros({{ instant }}) {%- endmacro %}

{% macro spark__instant_of(micros) -%} timestamp_micros({{ micros }}) {%- endmacro %}

{% macro spark__latest_first(number, columns) -%}
    {#- Structs are ordered by their first field. -#}
    sort_array(collect_list({{ struct_of([number] + columns) }}), false)
{%- endmacro %}

{% macro spark__part_of_list(list, first, length) -%} slice({{ list }}, {{ first }}, {{ length }}) {%- endmacro %}

{% macro spark__iso_weekday(instant) -%} (weekday({{ instant }}) + 1) {%- endmacro %}

{% macro spark__safe_cast(field, type) -%}
    {#- What dbt casts the values of a unit test with; Spark casts no text to a list, but reads one as JSON. -#}
    {%- if type.lower().startswith('array') and field | string | trim | lower != 'null' -%}
        from_json({{ field }}, '{{ type }}')
    {%- else -%}
        cast({{ field }} as {{ type }})
    {%- endif -%}
{%- endmacro %}

{% macro spark__json_of(text) -%} parse_json({{ text }}) {%- endmacro %}

{% macro spark__struct_of(named) -%}
    {%- set fields = [] -%}
    {%- for name, value in named.items() -%}{%- do fields.append("'" ~ name ~ "', " ~ value) -%}{%- endfor -%}
    {{ return("named_struct(" ~ fields | join(', ') ~ ")") }}
{%- endmacro %}

{% macro spark__quantiles(value, shares) -%} percentile({{ value }}, array({{ shares | join(', ') }})) {%- endmacro %}
