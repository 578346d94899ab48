{#- on-run-end: logs what couldn't be read, one line per kind, whether anything was new or not. -#}

{% macro report_reading() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and load_relation(ref_by_name('rejected_events')) is not none -%}
        {#- A kind is a reason without the value that was found. -#}
        {%- for row in run_query("select kind, count(*) as n_rows, min(example) as example from (select regexp_replace(reason,"
            ~ " '(?s)(: .*| the event_id .*)$', '') as kind, concat_ws(' ', source_file, case when source_row is null then concat('record ', "
            ~ "cast(source_line as string)) else concat('row ', cast(source_row as string)) end) as example from "
            ~ ref_by_name('rejected_events') ~ ") as reasons group by kind order by n_rows desc, kind").rows -%}
            {%- do log('Rejected: %d row%s: %s (such as %s, table rejected_events)' % (row['n_rows'], 's' if row['n_rows'] > 1 else '',
                row['kind'], row['example']), info=true) -%}
        {%- endfor -%}
        {%- for line in adapter.dispatch('lines_about_unread_files')() -%}{%- do log('Not read: ' ~ line, info=true) -%}{%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__lines_about_unread_files() -%}
    {{ return(fromjson(run_query("select lines_about(cast(coalesce(json_group_array(json_array(file, reason)), '[]') as varchar)) from "
        ~ ref_by_name('raw_files') ~ " where load is null").columns[0][0])) }}
{%- endmacro %}
