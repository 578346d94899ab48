{#- Expressions that differ between DuckDB and Spark SQL (4.x; dbt-spark turns ANSI mode off, so nothing here relies on it). -#}

{#- ---- Literals and structs -#}

{% macro literal(text) -%} {{ adapter.dispatch('literal')(text | string) }} {%- endmacro %}  {#- data reaches SQL only through it -#}
{% macro duckdb__literal(text) -%} '{{ text.replace("'", "''") }}' {%- endmacro %}
{% macro spark__literal(text) -%} '{{ text.replace("\\", "\\\\").replace("'", "\\'") }}' {%- endmacro %}

{% macro json_of(value) -%} {{ adapter.dispatch('json_of')(literal(tojson(value))) }} {%- endmacro %}
{% macro duckdb__json_of(text) -%} cast({{ text }} as json) {%- endmacro %}
{% macro spark__json_of(text) -%} parse_json({{ text }}) {%- endmacro %}

{% macro struct_of(columns) -%}
    {#- A struct of columns under their own names, or of expressions under the names that a mapping gives them. -#}
    {%- set fields = [] -%}
    {%- for name in columns -%}{%- do fields.append([name.split('.')[-1], columns[name] if columns is mapping else name]) -%}{%- endfor -%}
    {{ return(adapter.dispatch('struct_of')(fields)) }}
{%- endmacro %}
{% macro duckdb__struct_of(fields) -%}
    struct_pack({% for name, value in fields %}{{ name }} := {{ value }}{{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}
{% macro spark__struct_of(fields) -%}
    named_struct({% for name, value in fields %}'{{ name }}', {{ value }}{{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}

{#- ---- Lists; positions count from 1 -#}

{% macro array_of(expressions, cast_to=none) -%}
    {#- A list of expressions; one of none is a list of texts, or of what they are cast to. -#}
    {%- set typed = [] -%}
    {%- for each in expressions -%}{%- do typed.append("cast(" ~ each ~ " as " ~ cast_to ~ ")" if cast_to else each) -%}{%- endfor -%}
    {{ adapter.dispatch('array_of')(typed) if expressions else empty_array(cast_to or 'string') }}
{%- endmacro %}
{% macro duckdb__array_of(expressions) -%} [{{ expressions | join(', ') }}] {%- endmacro %}
{% macro spark__array_of(expressions) -%} array({{ expressions | join(', ') }}) {%- endmacro %}

{% macro empty_array(element_type) -%} cast({{ adapter.dispatch('array_of')([]) }} as {{ array_type(element_type) }}) {%- endmacro %}

{% macro array_type(element_type) -%} {{ adapter.dispatch('array_type')(element_type) }} {%- endmacro %}
{% macro duckdb__array_type(element_type) -%} {{ element_type }}[] {%- endmacro %}
{% macro spark__array_type(element_type) -%} array<{{ element_type }}> {%- endmacro %}

{% macro element(array, position) -%} {{ adapter.dispatch('element')(array, position) }} {%- endmacro %}
{% macro duckdb__element(array, position) -%} list_extract({{ array }}, {{ position }}) {%- endmacro %}
{% macro spark__element(array, position) -%} try_element_at({{ array }}, {{ position }}) {%- endmacro %}

{% macro list_length(list) -%} {{ adapter.dispatch('list_length')(list) }} {%- endmacro %}
{% macro duckdb__list_length(list) -%} len({{ list }}) {%- endmacro %}
{% macro spark__list_length(list) -%} array_size({{ list }}) {%- endmacro %}

{% macro part_of_list(list, first, length) -%} {{ adapter.dispatch('part_of_list')(list, first, length) }} {%- endmacro %}
{% macro duckdb__part_of_list(list, first, length) -%} list_slice({{ list }}, {{ first }}, {{ first }} + {{ length - 1 }}) {%- endmacro %}
{% macro spark__part_of_list(list, first, length) -%} slice({{ list }}, {{ first }}, {{ length }}) {%- endmacro %}

{% macro transformed_list(list, expression) -%} {{ adapter.dispatch('transformed_list')(list, expression) }} {%- endmacro %}  {#- of t -#}
{% macro duckdb__transformed_list(list, expression) -%} list_transform({{ list }}, lambda t: {{ expression }}) {%- endmacro %}
{% macro spark__transformed_list(list, expression) -%} transform({{ list }}, t -> {{ expression }}) {%- endmacro %}

{% macro filtered_list(list, condition) -%} {{ adapter.dispatch('filtered_list')(list, condition) }} {%- endmacro %}  {#- on t -#}
{% macro duckdb__filtered_list(list, condition) -%} list_filter({{ list }}, lambda t: {{ condition }}) {%- endmacro %}
{% macro spark__filtered_list(list, condition) -%} filter({{ list }}, t -> {{ condition }}) {%- endmacro %}

{% macro joined_list(list, separator) -%} {{ adapter.dispatch('joined_list')(list, literal(separator)) }} {%- endmacro %}
{% macro duckdb__joined_list(list, separator) -%} array_to_string({{ list }}, {{ separator }}) {%- endmacro %}
{% macro spark__joined_list(list, separator) -%} array_join({{ list }}, {{ separator }}) {%- endmacro %}

{% macro distinct_elements(list) -%} {{ adapter.dispatch('distinct_elements')(list) }} {%- endmacro %}  {#- sorted -#}
{% macro duckdb__distinct_elements(list) -%} list_sort(list_distinct({{ list }})) {%- endmacro %}
{% macro spark__distinct_elements(list) -%} array_sort(array_distinct({{ list }})) {%- endmacro %}

{% macro concatenated(lists) -%} {{ adapter.dispatch('concatenated')(lists) }} {%- endmacro %}
{% macro duckdb__concatenated(lists) -%} flatten([{{ lists | join(', ') }}]) {%- endmacro %}
{% macro spark__concatenated(lists) -%} concat({{ lists | join(', ') }}) {%- endmacro %}

{% macro unnested(list) -%} {{ adapter.dispatch('unnested')(list) }} {%- endmacro %}
{% macro duckdb__unnested(list) -%} unnest({{ list }}) {%- endmacro %}
{% macro spark__unnested(list) -%} explode({{ list }}) {%- endmacro %}

{% macro positions(n) -%} {{ adapter.dispatch('positions')(n) }} {%- endmacro %}  {#- 1 to n; Spark's sequence(1, 0) would count down -#}
{% macro duckdb__positions(n) -%} range(1, {{ n }} + 1) {%- endmacro %}
{% macro spark__positions(n) -%} case when {{ n }} > 0 then sequence(1, {{ n }}) else array() end {%- endmacro %}

{% macro holds_infinity(numbers) -%} {{ adapter.dispatch('holds_infinity')(numbers) }} {%- endmacro %}
{% macro duckdb__holds_infinity(numbers) -%}
    (list_contains({{ numbers }}, cast('inf' as double)) or list_contains({{ numbers }}, cast('-inf' as double)))
{%- endmacro %}
{% macro spark__holds_infinity(numbers) -%} exists({{ numbers }}, t -> abs(t) = double('inf')) {%- endmacro %}

{% macro latest_first(number, columns) -%}
    {#- An aggregate: a list of structs of columns, in descending order of a number that is unique in the list. -#}
    {{ adapter.dispatch('latest_first')(number, columns) }}
{%- endmacro %}
{% macro duckdb__latest_first(number, columns) -%} array_agg({{ struct_of(columns) }} order by {{ number }} desc) {%- endmacro %}
{% macro spark__latest_first(number, columns) -%} sort_array(collect_list({{ struct_of([number] + columns) }}), false) {%- endmacro %}

{% macro quantiles(value, shares) -%} {{ adapter.dispatch('quantiles')(value, shares | join(', ')) }} {%- endmacro %}  {#- a list, exact -#}
{% macro duckdb__quantiles(value, shares) -%} quantile_cont({{ value }}, [{{ shares }}]) {%- endmacro %}
{% macro spark__quantiles(value, shares) -%} percentile({{ value }}, array({{ shares }})) {%- endmacro %}

{#- ---- Texts and numbers -#}

{% macro fully_matches(text, pattern) -%} {{ adapter.dispatch('fully_matches')(text, pattern) }} {%- endmacro %}
{% macro duckdb__fully_matches(text, pattern) -%} regexp_full_match({{ text }}, {{ literal(pattern) }}) {%- endmacro %}
{% macro spark__fully_matches(text, pattern) -%} {{ text }} rlike {{ literal('\\A(?:' ~ pattern ~ ')\\z') }} {%- endmacro %}

{% macro trimmed(text) -%}
    {#- Without blanks at either end. Every Unicode space (category Zs) is a blank, such as U+3000; Spark's trim knows only U+0020. -#}
    {{ adapter.dispatch('trimmed')(text) }}
{%- endmacro %}
{% macro duckdb__trimmed(text) -%} trim({{ text }}) {%- endmacro %}
{% macro spark__trimmed(text) -%}
    btrim({{ text }}, ' \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000')
{%- endmacro %}

{% macro split_text(text, separator) -%} {{ adapter.dispatch('split_text')(text, separator) }} {%- endmacro %}
{% macro duckdb__split_text(text, separator) -%} string_split({{ text }}, {{ literal(separator) }}) {%- endmacro %}
{% macro spark__split_text(text, separator) -%} split({{ text }}, {{ literal('\\Q' ~ separator ~ '\\E') }}) {%- endmacro %}

{% macro bits_of_hex(digits) -%} {{ adapter.dispatch('bits_of_hex')(digits) }} {%- endmacro %}  {#- 16 digits as the bigint of their bits -#}
{% macro duckdb__bits_of_hex(digits) -%} cast(cast(unhex({{ digits }}) as bit) as bigint) {%- endmacro %}
{% macro spark__bits_of_hex(digits) -%} cast(conv({{ digits }}, 16, -10) as bigint) {%- endmacro %}

{% macro row_hash(columns) -%} {{ adapter.dispatch('row_hash')(columns) }} {%- endmacro %}
{% macro duckdb__row_hash(columns) -%} hash({{ columns }}) {%- endmacro %}
{% macro spark__row_hash(columns) -%} xxhash64({{ columns }}) {%- endmacro %}

{% macro number(text) -%} {{ adapter.dispatch('number')(text) }} {%- endmacro %}  {#- a double, NULL where the text is none -#}
{% macro duckdb__number(text) -%} try_cast({{ text }} as double) {%- endmacro %}
{% macro spark__number(text) -%}
    {#- Java reads '1d' and '0x1p3' as numbers; DuckDB doesn't. Digits may be grouped by underscores, as in DuckDB. -#}
    case
        when {{ text }} rlike '(?i)^\\s*[-+]?nan\\s*$' then cast('nan' as double)
        when {{ text }} rlike '(?i)^\\s*[-+]?([0-9_]*[.]?[0-9_]*(e[-+]?[0-9]+)?|inf|infinity)\\s*$'
            then try_cast(replace({{ text }}, '_', '') as double)
    end
{%- endmacro %}

{% macro spark__safe_cast(field, type) -%}
    {#- What dbt casts the values of a unit test with; Spark casts no text to a list, but reads one as JSON. -#}
    {%- if type.lower().startswith('array') and field | string | trim | lower != 'null' -%} from_json({{ field }}, '{{ type }}')
    {%- else -%} cast({{ field }} as {{ type }})
    {%- endif -%}
{%- endmacro %}

{#- ---- Days and instants -#}

{% macro timestamp_of(text) -%}
    {#- From a text that matches without_zone of time_patterns; NULL on a day that isn't one. Spark's cast knows neither slashes nor runs of blanks. -#}
    {{ adapter.dispatch('timestamp_of')(text) }}
{%- endmacro %}
{% macro duckdb__timestamp_of(text) -%} try_cast(trim({{ text }}) as timestamp) {%- endmacro %}
{% macro spark__timestamp_of(text) -%}
    try_cast(regexp_replace(trim(replace({{ text }}, '/', '-')), ' +', ' ') as timestamp)
{%- endmacro %}

{% macro utc_now() -%} {{ adapter.dispatch('utc_now')() }} {%- endmacro %}
{% macro duckdb__utc_now() -%} timezone('UTC', now()) {%- endmacro %}
{% macro spark__utc_now() -%} current_timestamp() {%- endmacro %}

{% macro plus_seconds(instant, seconds) -%} {{ adapter.dispatch('plus_seconds')(instant, seconds) }} {%- endmacro %}
{% macro duckdb__plus_seconds(instant, seconds) -%} {{ instant }} + to_seconds({{ seconds }}) {%- endmacro %}
{% macro spark__plus_seconds(instant, seconds) -%} {{ instant }} + make_dt_interval(0, 0, 0, {{ seconds }}) {%- endmacro %}

{% macro days_between(later, earlier) -%} {{ adapter.dispatch('days_between')(later, earlier) }} {%- endmacro %}
{% macro duckdb__days_between(later, earlier) -%} cast({{ later }} - {{ earlier }} as integer) {%- endmacro %}
{% macro spark__days_between(later, earlier) -%} datediff({{ later }}, {{ earlier }}) {%- endmacro %}

{% macro micros(instant) -%} {{ adapter.dispatch('micros')(instant) }} {%- endmacro %}
{% macro duckdb__micros(instant) -%} epoch_us({{ instant }}) {%- endmacro %}
{% macro spark__micros(instant) -%} unix_micros({{ instant }}) {%- endmacro %}

{% macro instant_of(micros) -%} {{ adapter.dispatch('instant_of')(micros) }} {%- endmacro %}
{% macro duckdb__instant_of(micros) -%} make_timestamp({{ micros }}) {%- endmacro %}
{% macro spark__instant_of(micros) -%} timestamp_micros({{ micros }}) {%- endmacro %}

{% macro iso_weekday(instant) -%} {{ adapter.dispatch('iso_weekday')(instant) }} {%- endmacro %}
{% macro duckdb__iso_weekday(instant) -%} isodow({{ instant }}) {%- endmacro %}
{% macro spark__iso_weekday(instant) -%} (weekday({{ instant }}) + 1) {%- endmacro %}
