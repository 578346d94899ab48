-- Grain: one line that the CSV reader could not parse, with the number of lines after it that it takes in.
-- depends_on: {{ ref('parsed_events') }} (a hook of it saves the lines: macros/rejects.sql)
{{ config(materialized='view') }}

with

malformed_lines as (
    select * from {{ malformed_lines() }}
),

{%- if target.type == 'duckdb' %}

-- How many lines of a file with a quote that is never closed became rows: a text may be of several lines.
read_lines as (
    select
        source_file,
        max(source_row) + sum(
            {%- for name in ['item_title', 'item_entities', 'user_texts'] %}
            coalesce({{ line_ends('cast(' ~ name ~ ' as string)') }}, 0){{ ' +' if not loop.last }}
            {%- endfor %}
        ) filter (where source_position = 1) as n_lines
    from {{ ref('parsed_events') }}
    where source_file in (
        select malformed_lines.source_file from malformed_lines
        where malformed_lines.n_lines_of_file is not null
    )
    group by source_file
),

-- Such a quote takes in the lines after it, at worst up to the end of the file, and DuckDB doesn't report how many (with several
-- threads it may recover somewhere). So a line that became neither a row nor a reject nor part of a text was taken in.
counted as (
    select
        malformed_lines.source_file,
        malformed_lines.source_line,
        malformed_lines.problem,
        malformed_lines.line,
        case
            when malformed_lines.n_lines_of_file is null then 0
            else greatest(
                0,
                malformed_lines.n_lines_of_file
                - count(*) over (partition by malformed_lines.source_file)
                - coalesce(read_lines.n_lines, 0)
            )
        end as n_lines_taken_in
    from malformed_lines
    left join read_lines on malformed_lines.source_file = read_lines.source_file
)
{%- else %}

-- Spark reports them with the lines that they took in.
counted as (
    select * from malformed_lines
)
{%- endif %}

select
    source_file,
    source_line,
    {%- if target.type == 'duckdb' %}
    problem
    || case when n_lines_taken_in > 0 then ' It takes in up to ' || n_lines_taken_in || ' lines after it.' else '' end
        as problem,
    {%- else %}
    problem,
    {%- endif %}
    line,
    cast(n_lines_taken_in as bigint) as n_lines_taken_in
from counted
