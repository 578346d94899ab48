{#-
  Which rows a refresh by day reads and writes. In a full build every macro here is a no-op (`true` for a filter, the unchanged
  rows for rows carried over), so one SQL text of a model serves both.
-#}

{% macro in_days(day) -%}
    {#- The column `day` is one of the days to recompute. -#}
    {%- do read_touched_days() -%}
    {%- if is_written_in_chunks() -%} {{ in_chunk(day) }}
    {%- elif is_incremental() -%} {{ in_dates(day, refresh_plan().days) }}
    {%- else -%} true {%- endif -%}
{%- endmacro %}

{% macro at_days(instant) -%}
    {#- The instant lies on one of the days to recompute. The range lets DuckDB skip most of a table. -#}
    {%- do read_touched_days() -%}
    {%- if is_written_in_chunks() -%} {{ at_chunk(instant) }}
    {%- elif is_incremental() -%}
        {%- set days = refresh_plan().days -%}
        ({{ instant }} >= timestamp '{{ days[0] }}' and {{ instant }} < timestamp '{{ shifted(days, 1)[-1] }}'
        and {{ in_dates('cast(' ~ instant ~ ' as date)', days) }})
    {%- else -%} true {%- endif -%}
{%- endmacro %}

{% macro read_touched_days() -%}
    {%- if model.resource_type == 'model' -%}{%- do ref('touched_days') -%}{%- endif -%}
{%- endmacro %}

{% macro in_new_files(source_file='source_file') -%}
    {%- if model.resource_type == 'model' -%}{%- do ref('raw_files') -%}{%- endif -%}
    {%- if not is_incremental() -%} true
    {%- elif not refresh_plan().files -%} false
    {%- else -%} {{ source_file }} in ({{ quoted(refresh_plan().files) }}) {%- endif -%}
{%- endmacro %}

{% macro quoted(texts) -%}
    {%- for text in texts %}{{ literal(text) }}{{ ', ' if not loop.last }}{% else %}null{% endfor -%}
{%- endmacro %}

{% macro are_shown(keys, daily, condition='n_shown > 0') -%}
    {#- The keys of this row are shown on one of the days to recompute. No other key needs its history. -#}
    {%- do read_touched_days() -%}
    {%- if is_incremental() -%}
        ({{ keys | join(', ') }}) in (
            select shown.{{ keys | map('replace', 'events.', '') | join(', shown.') }}
            from {{ daily }} as shown where shown.{{ condition }} and {{ in_days('shown.day') }})
    {%- else -%} true {%- endif -%}
{%- endmacro %}

{% macro with_carried(rows, keys, sums, firsts=[], lasts=[]) -%}
    {#-
      Daily rows (as_of_date) as the windows need them. Rows that a seven-day window can reach stay as they are. All earlier rows
      of a key are merged into one, dated the day before that reach: it counts in every _cum and in no _7d. `sums` are summed, of
      `firsts` the minimum is kept and of `lasts` the maximum.
    -#}
    {%- if is_incremental() -%}
        {%- set days = refresh_plan().days -%}
        {%- set reach = "greatest(as_of_date, date '" ~ shifted(days, -8)[0] ~ "')" %}
    select
        {%- for key in keys %}
        {{ key }},
        {%- endfor %}
        {{ reach }} as as_of_date,
        {%- for measure in sums %}
        cast(sum({{ measure }}) as bigint) as {{ measure }},
        {%- endfor %}
        {%- for first in firsts %}
        min({{ first }}) as {{ first }},
        {%- endfor %}
        {%- for last in lasts %}
        max({{ last }}) as {{ last }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ rows }}
    where as_of_date <= date '{{ days[-1] }}'
    group by {{ keys | join(', ') }}, {{ reach }}
    {%- else %}
    select * from {{ rows }}
    {%- endif -%}
{%- endmacro %}

{#-
  Up to the instant: a window of seven times 24 hours that ends within day d cuts through day d - 7 and through d. Only these two
  need single events. Every other day is inside or outside as a whole, so its daily counts are enough.
-#}

{% macro on_cut_days(day) -%}
    {%- do read_touched_days() -%}
    {%- if is_incremental() -%}
        {{ in_dates(day, cut_days()) }}
    {%- else -%} true {%- endif -%}
{%- endmacro %}

{% macro cut_days() -%}
    {%- set days = refresh_plan().days -%}
    {{ return((days + shifted(days, -7)) | unique | sort | list) }}
{%- endmacro %}

{% macro with_whole_days(moments, keys, daily) -%}
    {#- The rows of `moments` that lie on cut days, and one row for each other day that a window contains as a whole. -#}
    {%- if not is_incremental() %}
    select * from {{ moments }}
    {%- else %}
    select
        {{ keys | join(', ') }},
        micros,
        day,
        n_shown,
        n_impressions,
        n_clicks,
        last_micros,
        last_click_micros
    from {{ moments }}
    {%- set days = refresh_plan().days %}
    {%- set day = "greatest(day, date '" ~ shifted(days, -8)[0] ~ "')" %}
    where {{ on_cut_days('day') }}

    union all

    select
        {{ keys | join(', ') }},
        {{ micros('cast(' ~ day ~ ' as timestamp)') }} as micros,
        {{ day }} as day,
        0 as n_shown,
        cast(sum(n_impressions) as bigint) as n_impressions,
        cast(sum(n_clicks) as bigint) as n_clicks,
        {{ micros('max(last_known_at)') }} as last_micros,
        {{ micros('max(last_click_at)') }} as last_click_micros
    from {{ daily }}
    where
        n_impressions > 0 and day < date '{{ days[-1] }}' and not {{ on_cut_days('day') }}
        and {{ are_shown(keys, daily) }}
    group by {{ keys | join(', ') }}, {{ day }}
    {%- endif -%}
{%- endmacro %}

{% macro in_dates(day, dates) -%}
    {%- set date = modules.datetime.date -%}
    {%- set span = (date.fromisoformat(dates[-1]) - date.fromisoformat(dates[0])).days + 1 -%}
    ({{ day }} between date '{{ dates[0] }}' and date '{{ dates[-1] }}'
    {%- if span > dates | length %} and {{ day }} in (
        {%- for each in dates %}date '{{ each }}'{{ ', ' if not loop.last }}{% endfor -%}
    ){%- endif -%})
{%- endmacro %}

{% macro shifted(dates, n_days) -%}
    {%- set found = [] -%}
    {%- for day in dates -%}
        {%- do found.append((modules.datetime.date.fromisoformat(day) + modules.datetime.timedelta(days=n_days)).isoformat()) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}
