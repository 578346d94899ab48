{#- Times that would empty every window if they were accepted: later than now, or far from all others. -#}

{% macro is_in_the_future(instant) -%}
    {%- set tolerance, now = number_var('future_tolerance'), engine(duckdb="timezone('UTC', now())", spark='current_timestamp()') -%}
    {{ 'false' if tolerance is none else instant ~ ' > ' ~ now ~ " + interval '" ~ tolerance ~ "' second" }}
{%- endmacro %}

{% macro stop_if_times_are_far_off() -%}
    {#-
      The log may have gaps of up to var max_gap_days. On both sides of a longer gap there must be more than 1% of the rows (and more
      than one): a few rows beyond a long gap are taken for wrong times. All rows read so far are counted, so a refresh gives the
      same answer as a full build, whatever order the files came in.
    -#}
    {%- set allowed = number_var('max_gap_days') -%}
    {%- set gaps = run_query("select * from " ~ ref('int_gaps') ~ " where n_days > " ~ allowed
        ~ " and n_beyond <= greatest(1, n_rows / 100.0) order by what, n_beyond, day limit 1").rows if execute and allowed is not none -%}
    {%- if gaps -%}
        {%- set gap = gaps[0].dict() -%}
        {%- set example = run_query("select source_file, source_row, event_id from " ~ ref('parsed_events')
            ~ " where unreadable_because is null and " ~ {'event_at': 'event_date', 'known_at': 'known_date'}[gap.what]
            ~ " between date '" ~ gap.first_beyond ~ "' and date '" ~ gap.last_beyond ~ "' order by source_file, source_row limit 1").rows[0].dict() -%}
        {{ exceptions.raise_compiler_error("{what} of {n_beyond} of {n_rows} rows is {first_beyond}{to}, {n_days} days {side} all others ({nearest})"
            "; var max_gap_days allows {allowed}. For example row {source_row} of {source_file}, event {event_id}. Windows, feat_*_latest"
            " and freshness would rest on such times. Correct the rows or leave them out in the adapter. If the log does pause so long,"
            " set max_gap_days to {n_days}, or to null for no limit.".format(allowed=allowed,
            to=' to ' ~ gap.last_beyond if gap.last_beyond != gap.first_beyond else '', **dict(gap, **example))) }}
    {%- endif -%}
{%- endmacro %}

{% macro log_times_no_longer_in_the_future() -%}
    {#- A refresh doesn't read rejected rows again: this logs how many would be accepted today. -#}
    {%- if execute and is_incremental() -%}
        {%- set later = "unreadable_because like '{0} is later than now: %' and not " -%}
        {%- set n_rows = run_query("select count(*) from " ~ ref('parsed_events') ~ " where " ~ later.format('event_at') ~ is_in_the_future('event_at')
            ~ " or " ~ later.format('known_at') ~ is_in_the_future('known_at')).columns[0][0] -%}
        {%- if n_rows -%}
            {%- do log("Refresh: " ~ n_rows ~ " rows were rejected as later than now, and no longer are. dbt build --full-refresh"
                ~ " reads them again.", info=true) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
