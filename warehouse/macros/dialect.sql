{#- Expressions that differ between DuckDB and Spark SQL: DuckDB's side here, Spark's in dialect_spark.sql. -#}

{% macro array_of(expressions, cast_to=none) -%}
    {#- A list of expressions; one of none is a list of texts, or of what they are cast to. -#}
    {%- if not expressions -%}{{ return(empty_array(cast_to or 'string')) }}{%- endif -%}
    {%- set cast_expressions = [] -%}
    {%- for expression in expressions -%}
        {%- do cast_expressions.append("cast(" ~ expression ~ " as " ~ cast_to ~ ")" if cast_to else expression) -%}
    {%- endfor -%}
    {{ adapter.dispatch('array_of')(cast_expressions) }}
{%- endmacro %}
{% macro duckdb__array_of(expressions) -%} [{{ expressions | join(', ') }}] {%- endmacro %}

{% macro element(array, position) -%} {{ adapter.dispatch('element')(array, position) }} {%- endmacro %}
{% macro duckdb__element(array, position) -%} list_extract({{ array }}, {{ position }}) {%- endmacro %}

{% macro array_type(element_type) -%} {{ adapter.dispatch('array_type')(element_type) }} {%- endmacro %}
{% macro duckdb__array_type(element_type) -%} {{ element_type }}[] {%- endmacro %}

{% macro fully_matches(text, pattern) -%}
    {#- The regular expression matches the whole text. -#}
    {{ adapter.dispatch('fully_matches')(text, pattern) }}
{%- endmacro %}
{% macro duckdb__fully_matches(text, pattern) -%} regexp_full_match({{ text }}, {{ literal(pattern) }}) {%- endmacro %}

{% macro timestamp_of(text) -%}
    {#- A timestamp from a text that matches without_zone of time_patterns (macros/times.sql); NULL on a day that isn't one. -#}
    {{ adapter.dispatch('timestamp_of')(text) }}
{%- endmacro %}
{% macro duckdb__timestamp_of(text) -%} try_cast(trim({{ text }}) as timestamp) {%- endmacro %}

{% macro utc_now() -%} {{ adapter.dispatch('utc_now')() }} {%- endmacro %}
{% macro duckdb__utc_now() -%} timezone('UTC', now()) {%- endmacro %}

{% macro plus_seconds(instant, seconds) -%} {{ adapter.dispatch('plus_seconds')(instant, seconds) }} {%- endmacro %}
{% macro duckdb__plus_seconds(instant, seconds) -%} {{ instant }} + to_seconds({{ seconds }}) {%- endmacro %}

{% macro days_between(later, earlier) -%} {{ adapter.dispatch('days_between')(later, earlier) }} {%- endmacro %}
{% macro duckdb__days_between(later, earlier) -%} cast({{ later }} - {{ earlier }} as integer) {%- endmacro %}

{% macro number(text) -%}
    {#- A double from text, NULL where it is none. -#}
    {{ adapter.dispatch('number')(text) }}
{%- endmacro %}
{% macro duckdb__number(text) -%} try_cast({{ text }} as double) {%- endmacro %}

{% macro numbers(texts) -%}
    {#- A list of numbers from a list of texts; an empty text or NaN is missing, anything else unreadable becomes infinite. -#}
    {%- set value -%}
    case
        when t is null or {{ trimmed('t') }} = '' then null
        when isnan({{ number('t') }}) then null
        else coalesce({{ number('t') }}, cast('inf' as double))
    end
    {%- endset -%}
    {{ transformed_list(texts, value) }}
{%- endmacro %}

{% macro holds_infinity(numbers) -%} {{ adapter.dispatch('holds_infinity')(numbers) }} {%- endmacro %}
{% macro duckdb__holds_infinity(numbers) -%}
    (list_contains({{ numbers }}, cast('inf' as double)) or list_contains({{ numbers }}, cast('-inf' as double)))
{%- endmacro %}

{% macro trimmed(text) -%}
    {#- Without blanks at either end; every Unicode space is a blank (such as U+3000 in Chinese texts). -#}
    {{ adapter.dispatch('trimmed')(text) }}
{%- endmacro %}
{% macro duckdb__trimmed(text) -%} trim({{ text }}) {%- endmacro %}

{% macro blank_to_null(text) -%} case when {{ trimmed(text) }} <> '' then {{ text }} end {%- endmacro %}

{% macro list_length(list) -%} {{ adapter.dispatch('list_length')(list) }} {%- endmacro %}
{% macro duckdb__list_length(list) -%} len({{ list }}) {%- endmacro %}

{% macro bits_of_hex(digits) -%}
    {#- 16 hex digits as a bigint of the same bits: from 8000000000000000 on it is negative. -#}
    {{ adapter.dispatch('bits_of_hex')(digits) }}
{%- endmacro %}
{% macro duckdb__bits_of_hex(digits) -%} cast(cast(unhex({{ digits }}) as bit) as bigint) {%- endmacro %}

{% macro row_hash(columns) -%} {{ adapter.dispatch('row_hash')(columns) }} {%- endmacro %}
{% macro duckdb__row_hash(columns) -%} hash({{ columns }}) {%- endmacro %}

{% macro empty_array(element_type) -%} cast({{ adapter.dispatch('array_of')([]) }} as {{ array_type(element_type) }}) {%- endmacro %}

{% macro joined_list(list, separator) -%} {{ adapter.dispatch('joined_list')(list, separator) }} {%- endmacro %}
{% macro duckdb__joined_list(list, separator) -%} array_to_string({{ list }}, {{ literal(separator) }}) {%- endmacro %}

{% macro union_of_lists(lists, element_type) -%}
    {#- The distinct elements of several lists, sorted; a NULL list counts as empty. -#}
    {%- set present = [] -%}
    {%- for list in lists -%}{%- do present.append("coalesce(" ~ list ~ ", " ~ empty_array(element_type) ~ ")") -%}{%- endfor -%}
    {%- if present -%} {{ adapter.dispatch('union_of_lists')(present) }} {%- else -%} {{ empty_array(element_type) }} {%- endif -%}
{%- endmacro %}
{% macro duckdb__union_of_lists(lists) -%} list_sort(list_distinct(flatten([{{ lists | join(', ') }}]))) {%- endmacro %}

{% macro split_list(text, separator) -%}
    {#- The distinct, trimmed, non-empty parts of a text, sorted; the text itself is the only part without a separator. -#}
    {%- set parts = adapter.dispatch('split_text')(text, separator) if separator else array_of([text]) -%}
    {{ adapter.dispatch('distinct_parts')(parts) }}
{%- endmacro %}
{% macro duckdb__split_text(text, separator) -%} string_split({{ text }}, {{ literal(separator) }}) {%- endmacro %}
{% macro duckdb__distinct_parts(parts) -%}
    list_sort(list_distinct(list_filter(list_transform({{ parts }}, lambda t: trim(t)), lambda t: t <> '')))
{%- endmacro %}

{% macro without_blanks(texts) -%}
    {#- A list of texts without those that are NULL or nothing but blanks. -#}
    {{ adapter.dispatch('without_blanks')(texts) }}
{%- endmacro %}
{% macro duckdb__without_blanks(texts) -%} list_filter({{ texts }}, lambda t: {{ trimmed('t') }} <> '') {%- endmacro %}

{% macro transformed_list(list, expression) -%}
    {#- Applies an expression of t to each element t of a list. -#}
    {{ adapter.dispatch('transformed_list')(list, expression) }}
{%- endmacro %}
{% macro duckdb__transformed_list(list, expression) -%} list_transform({{ list }}, lambda t: {{ expression }}) {%- endmacro %}

{% macro unnested(list) -%} {{ adapter.dispatch('unnested')(list) }} {%- endmacro %}
{% macro duckdb__unnested(list) -%} unnest({{ list }}) {%- endmacro %}

{% macro positions(n) -%}
    {#- The whole numbers from 1 to n as a list. -#}
    {{ adapter.dispatch('positions')(n) }}
{%- endmacro %}
{% macro duckdb__positions(n) -%} range(1, {{ n }} + 1) {%- endmacro %}

{% macro micros(instant) -%} {{ adapter.dispatch('micros')(instant) }} {%- endmacro %}
{% macro duckdb__micros(instant) -%} epoch_us({{ instant }}) {%- endmacro %}

{% macro instant_of(micros) -%} {{ adapter.dispatch('instant_of')(micros) }} {%- endmacro %}
{% macro duckdb__instant_of(micros) -%} make_timestamp({{ micros }}) {%- endmacro %}

{% macro latest_first(number, columns) -%}
    {#- An aggregate: a list of structs of columns, in descending order of a number that is unique in the list. -#}
    {{ adapter.dispatch('latest_first')(number, columns) }}
{%- endmacro %}
{% macro duckdb__latest_first(number, columns) -%} array_agg({{ struct_of(columns) }} order by {{ number }} desc) {%- endmacro %}

{% macro part_of_list(list, first, length) -%}
    {#- Up to `length` elements from the position `first` on. -#}
    {{ adapter.dispatch('part_of_list')(list, first, length) }}
{%- endmacro %}
{% macro duckdb__part_of_list(list, first, length) -%}
    list_slice({{ list }}, {{ first }}, {{ first }} + {{ length - 1 }})
{%- endmacro %}

{% macro iso_weekday(instant) -%} {{ adapter.dispatch('iso_weekday')(instant) }} {%- endmacro %}
{% macro duckdb__iso_weekday(instant) -%} isodow({{ instant }}) {%- endmacro %}

{% macro struct_of(columns) -%}
    {#- A struct of columns under their own names, or of expressions under the names that a mapping gives them. -#}
    {%- if columns is mapping -%}{{ return(adapter.dispatch('struct_of')(columns)) }}{%- endif -%}
    {%- set named = {} -%}
    {%- for column in columns -%}{%- do named.update({column.split('.')[-1]: column}) -%}{%- endfor -%}
    {{ return(adapter.dispatch('struct_of')(named)) }}
{%- endmacro %}
{% macro duckdb__struct_of(named) -%}
    {%- set fields = [] -%}
    {%- for name, value in named.items() -%}{%- do fields.append(name ~ " := " ~ value) -%}{%- endfor -%}
    {{ return("struct_pack(" ~ fields | join(', ') ~ ")") }}
{%- endmacro %}

{% macro quantiles(value, shares) -%}
    {#- A list of exact quantiles, interpolated between neighbours. -#}
    {{ adapter.dispatch('quantiles')(value, shares) }}
{%- endmacro %}
{% macro duckdb__quantiles(value, shares) -%} quantile_cont({{ value }}, [{{ shares | join(', ') }}]) {%- endmacro %}

{% macro json_of(value) -%} {{ adapter.dispatch('json_of')(literal(tojson(value))) }} {%- endmacro %}
{% macro duckdb__json_of(text) -%} cast({{ text }} as json) {%- endmacro %}
