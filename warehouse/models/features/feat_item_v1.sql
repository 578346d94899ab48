-- Grain: one item and as_of_date (a day on which the item is shown). What was known of it before that day.

with

{{ key_windows('item_id', ref('int_item_daily')) }}

select
    item_id,
    as_of_date,
    {{ level('n_impressions_cum') }} as item_level,
    {%- for window in ['7d', 'cum'] %}
    {{ if_history('n_impressions_' ~ window) }} as item_n_impressions_{{ window }},
    {{ if_history('n_clicks_' ~ window) }} as item_n_clicks_{{ window }},
    {{ if_history('n_active_days_' ~ window) }} as item_n_active_days_{{ window }},
    {{ smoothed_rate('n_clicks_' ~ window, 'n_impressions_' ~ window, 'prior_rate') }} as item_click_rate_{{ window }},
    {{ if_history(scene_counts('n_impressions', window)) }} as item_scene_n_impressions_{{ window }},
    {{ if_history(scene_counts('n_clicks', window)) }} as item_scene_n_clicks_{{ window }},
    {{ scene_rates(window, priors='scene_priors') }} as item_scene_click_rate_{{ window }},
    {%- endfor %}
    {{ days_between('as_of_date', 'first_date') }} as item_days_since_first,
    {{ days_between('as_of_date', 'last_date') }} as item_days_since_last,
    {{ days_between('as_of_date', 'last_click_date') }} as item_days_since_last_click
from joined
