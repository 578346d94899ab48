{#- Times that would empty every window if they were accepted: later than now, or far from all others. -#}

{% macro is_in_the_future(instant) -%}
    {%- set tolerance = number_var('future_tolerance') -%}
    {%- if tolerance is none -%} false
    {%- else -%} {{ instant }} > {{ plus_seconds(utc_now(), tolerance) }} {%- endif -%}
{%- endmacro %}

{% macro stop_if_times_are_far_off() -%}
    {#-
      The log may have gaps of up to var max_gap_days. On both sides of a longer gap there must be more than 1% of the rows (and more
      than one): a few rows beyond a long gap are taken for wrong times. All rows read so far are counted, so a refresh gives the
      same answer as a full build, whatever order the files came in.
    -#}
    {%- set max_gap_days = number_var('max_gap_days') -%}
    {%- if execute and max_gap_days is not none -%}
        {%- set gaps = run_query("select * from " ~ ref('int_gaps') ~ " where n_days > " ~ max_gap_days
            ~ " and n_beyond <= greatest(1, (n_early + n_late) / 100.0) order by what, n_beyond, day").rows -%}
        {%- if gaps -%}
            {%- set gap = gaps[0] -%}
            {%- set is_late = gap['n_late'] <= gap['n_early'] -%}
            {%- set first, last = (gap['day'], gap['last_day']) if is_late else (gap['first_day'], gap['day_before']) -%}
            {%- set example = run_query("select source_file, source_row, event_id from " ~ ref('parsed_events')
                ~ " where unreadable_because is null and " ~ ('event_date' if gap['what'] == 'event_at' else 'known_date')
                ~ " between date '" ~ first ~ "' and date '" ~ last ~ "' order by source_file, source_row limit 1").rows[0] -%}
            {{ exceptions.raise_compiler_error(
                gap['what'] ~ " of " ~ ([gap['n_late'], gap['n_early']] | min | int) ~ " of " ~ (gap['n_late'] + gap['n_early']) | int
                ~ " rows is " ~ first ~ (" to " ~ last if first != last) ~ ", " ~ gap['n_days'] ~ " days "
                ~ ("after" if is_late else "before") ~ " all others (" ~ (gap['day_before'] if is_late else gap['day'])
                ~ "); var max_gap_days allows " ~ max_gap_days ~ ". For example row " ~ example['source_row'] ~ " of "
                ~ example['source_file'] ~ ", event " ~ example['event_id'] ~ ". Windows, feat_*_latest and freshness would rest on "
                ~ "such times. Correct the rows or leave them out in the adapter. If the log does pause so long, set max_gap_days to "
                ~ gap['n_days'] ~ ", or to null for no limit.") }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro log_times_no_longer_in_the_future() -%}
    {#- A refresh doesn't read rejected rows again: this logs how many would be accepted today. -#}
    {%- if execute and is_incremental() -%}
        {%- set n_rows = run_query("select count(*) from " ~ ref('parsed_events')
            ~ " where unreadable_because like 'event_at is later than now: %' and not " ~ is_in_the_future('event_at')
            ~ " or unreadable_because like 'known_at is later than now: %' and not " ~ is_in_the_future('known_at')).columns[0][0] -%}
        {%- if n_rows -%}
            {%- do log("Refresh: " ~ n_rows ~ " rows were rejected as later than now, and no longer are. dbt build --full-refresh"
                ~ " reads them again.", info=true) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
