-- Grain: one distinct list of a user's texts (var user_text_parts), as the log writes them.
{{ config(meta={'refresh': 'append'}) }}
{%- set n_parts = dataset_var('user_text_parts', []) | length %}
{%- set no_text_ids = empty_array('bigint') %}

with

lists as (
    select distinct user_texts
    from {{ ref('stg_events') }}
    where {{ in_days('event_date') }}
),

joined as (
    select
        lists.user_texts,
        {%- if n_parts %}
        array_sort(array_distinct(concat(
            {%- for i in range(n_parts) %}
            coalesce(part_{{ i }}.text_ids, {{ no_text_ids }}){{ ',' if not loop.last }}
            {%- endfor %}
        ))) as entity_text_ids,
        {%- else %}
        {{ no_text_ids }} as entity_text_ids,
        {%- endif %}
        {{ trimmed(whole_user_text('lists.user_texts')) }} as text
    from lists
    {%- for i in range(n_parts) %}
    left join {{ ref('int_entity_lists') }} as part_{{ i }}
        on {{ element('lists.user_texts', i + 1) }} = part_{{ i }}.entity_list
    {%- endfor %}
)

select
    user_texts,
    entity_text_ids,
    text,
    {{ text_id('user', 'text') }} as text_id
from joined
{%- if is_incremental() %}
where not exists (select 1 from {{ this }} as before where before.user_texts = joined.user_texts)
{%- endif %}
