{#-
  What a time is: one closed list, the whole text or not at all, for the times in rows (instant) and for those in the vars
  (instant_var, day_var). The patterns are regular expressions that DuckDB (RE2), Spark (Java) and Python read alike.
-#}

{% macro time_patterns() -%}
    {#- Each pattern matches a whole text. None has a capturing group. -#}
    {%- set day = '[0-9]{4}(?:-[0-9]{1,2}-|/[0-9]{1,2}/)[0-9]{1,2}' -%}
    {%- set minute = '(?:[01]?[0-9]|2[0-3]):[0-5][0-9]' -%}
    {%- set clock = minute ~ '(?::[0-5][0-9](?:[.](?:[0-9]{1,5}|[0-9]{6}0{0,3}))?)?' -%}
    {%- set zone = '(?:Z|UTC|[-+](?:(?:0[0-9]|1[0-3])(?::?[0-5][0-9])?|14(?::?00)?))' -%}
    {%- set seconds = '[1-9][0-9]{8,9}' -%}
    {{ return({
        'day': day,
        'clock': clock,
        'zone': zone,
        'without_zone': ' *' ~ day ~ '(?:(?:T| +)' ~ clock ~ ')? *',
        'with_zone': ' *' ~ day ~ '(?:T| +)' ~ clock ~ ' ?' ~ zone ~ ' *',
        'unix_seconds': ' *' ~ seconds ~ '(?:[.][0-9]{1,6})? *',
        'unix_millis': ' *[1-9][0-9]{12} *',
        'unix_micros': ' *[1-9][0-9]{15} *',
        'too_fine': ' *(?:' ~ day ~ '(?:T| +)' ~ minute ~ ':[0-5][0-9][.][0-9]{6}(?:0{0,2}[1-9][0-9]*|000[0-9]+)(?: ?' ~ zone ~ ')?|'
            ~ seconds ~ '[.][0-9]{7,}) *',
    }) }}
{%- endmacro %}

{% macro instant(text) -%}
    {#- A UTC timestamp from a text in one of the accepted forms; NULL from any other text. -#}
    {%- set patterns = time_patterns() -%}
    {%- set offset = "replace(regexp_extract(" ~ text ~ ", '([-+][0-9:]+) *$', 1), ':', '')" -%}
    {%- set local = "regexp_replace(" ~ text ~ ", '(Z|UTC|[-+][0-9:]+) *$', '')" -%}
    case
        when {{ fully_matches(text, patterns.without_zone) }} then {{ timestamp_of(text) }}
        when {{ fully_matches(text, patterns.with_zone) }} then {{ instant_of(micros(timestamp_of(local))
            ~ " - case when " ~ offset ~ " like '-%' then -60000000 else 60000000 end * ("
            ~ "coalesce(try_cast(substr(" ~ offset ~ ", 2, 2) as bigint), 0) * 60 + "
            ~ "coalesce(try_cast(substr(" ~ offset ~ ", 4, 2) as bigint), 0))") }}
        when {{ fully_matches(text, patterns.unix_seconds) }} then {{ instant_of(
            "try_cast(split_part(trim(" ~ text ~ "), '.', 1) as bigint) * 1000000"
            ~ " + try_cast(rpad(split_part(trim(" ~ text ~ "), '.', 2), 6, '0') as bigint)") }}
        when {{ fully_matches(text, patterns.unix_millis) }} then {{ instant_of("try_cast(trim(" ~ text ~ ") as bigint) * 1000") }}
        when {{ fully_matches(text, patterns.unix_micros) }} then {{ instant_of("try_cast(trim(" ~ text ~ ") as bigint)") }}
    end
{%- endmacro %}

{% macro time_error(column, text) -%}
    {#- Why a row is rejected whose text is not a time. -#}
    case
        when {{ fully_matches(text, time_patterns().too_fine) }} then '{{ column }} is finer than a microsecond: '
        else '{{ column }} is not a time: '
    end || coalesce({{ text }}, 'missing')
{%- endmacro %}

{% macro instant_var(name) -%}
    {#- The instant that a var holds, as 'yyyy-MM-dd HH:mm:ss[.ffffff]' in UTC: what is compared, written and recorded. -#}
    {{ return(utc_of(dataset_var(name)) or reject_var(
        name, "a time such as 2024-02-01, 2024-02-01 09:30 or 2024-02-01 09:30:00+08:00, or Unix seconds"
        ~ " (docs/bring-your-own-log.md#times lists the forms)")) }}
{%- endmacro %}

{% macro day_var(name) -%}
    {#- The day (UTC) that a var holds, as 'yyyy-MM-dd'; none if it holds none. A time of day would be dropped, so it is an error. -#}
    {%- set day, _, clock = (utc_of(dataset_var(name, none)) or '').partition(' ') -%}
    {{ return(none if dataset_var(name, none) is none else day if clock == '00:00:00'
        else reject_var(name, "a day (UTC), such as 2024-02-01, or the instant at which one begins")) }}
{%- endmacro %}

{% macro number_var(name) -%}
    {#- A number that isn't negative, or none. -#}
    {%- set value = dataset_var(name, none) -%}
    {{ return(value if value is none or value is number and value is not boolean and 0 <= value < 1e11
        else reject_var(name, "a number that is not negative, or null")) }}
{%- endmacro %}

{% macro reject_var(name, expected) -%}
    {{ exceptions.raise_compiler_error("var " ~ name ~ " of dataset " ~ var('dataset') ~ " is '" ~ dataset_var(name, none)
        ~ "', expected " ~ expected ~ ".") }}
{%- endmacro %}

{% macro utc_of(value) -%}
    {#-
      Does for a YAML value what instant() does for a row's text. The value is a text, a number, or the date or timestamp that YAML
      makes of an unquoted one. None if it is not a time. Python's dates end on 9999-12-31, and an offset must not lead beyond them.
    -#}
    {%- set patterns, re, datetime = time_patterns(), modules.re, modules.datetime -%}
    {%- set text = (value | string).strip(' ') -%}
    {%- if re.fullmatch(patterns.unix_seconds ~ '|' ~ patterns.unix_millis ~ '|' ~ patterns.unix_micros, text) -%}
        {%- set whole, _, fraction = text.partition('.') -%}
        {%- set micros = (whole | int) * {13: 1000, 16: 1}.get(whole | length, 1000000) + (fraction.ljust(6, '0') | int) -%}
        {{ return((datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)).isoformat(' ')) }}
    {%- endif -%}
    {%- set found = re.fullmatch('([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})(?:(?:T| +)(' ~ patterns.clock ~ ')(?: ?(' ~ patterns.zone ~ '))?)?', text)
        if re.match(patterns.day, text) -%}
    {%- if not found -%}{{ return(none) }}{%- endif -%}
    {%- set year, month, day = found.groups()[:3] | map('int') -%}
    {%- set first, last = (2, 9998) if found.group(5) else (1, 9999) -%}
    {%- if first <= year <= last and 1 <= month <= 12 and 1 <= day <= 31 -%}
        {%- set date = datetime.date(year, month, 1) + datetime.timedelta(days=day - 1) -%}
        {%- set clock = (found.group(4) or '0:00') ~ (found.group(5) or 'Z').replace('UTC', 'Z') -%}
        {%- set at = datetime.datetime.fromisoformat(date.isoformat() ~ 'T' ~ ('0' if clock[1] == ':') ~ clock).astimezone(modules.pytz.utc) -%}
        {{ return(at.replace(tzinfo=none).isoformat(' ') if date.month == month) }}
    {%- endif -%}
{%- endmacro %}
