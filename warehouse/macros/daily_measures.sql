{% macro daily_measures(prefix) -%}
    {#-
      The final columns of what was known of a user or an item before a day. feat_<prefix>_v1 (every day on which it is shown)
      and feat_<prefix>_latest (every key, one day) both end with them, so a measure is defined once.
    -#}
    {{ level('n_impressions_cum') }} as {{ prefix }}_level,
    {%- for window in ['7d', 'cum'] %}
    {{ if_history('n_impressions_' ~ window) }} as {{ prefix }}_n_impressions_{{ window }},
    {{ if_history('n_clicks_' ~ window) }} as {{ prefix }}_n_clicks_{{ window }},
    {{ if_history('n_active_days_' ~ window) }} as {{ prefix }}_n_active_days_{{ window }},
    {{ smoothed_rate('n_clicks_' ~ window, 'n_impressions_' ~ window, 'prior_rate') }} as {{ prefix }}_click_rate_{{ window }},
    {{ if_history(scene_counts('n_impressions', window)) }} as {{ prefix }}_scene_n_impressions_{{ window }},
    {{ if_history(scene_counts('n_clicks', window)) }} as {{ prefix }}_scene_n_clicks_{{ window }},
    {{ scene_rates(window, priors='scene_priors') }} as {{ prefix }}_scene_click_rate_{{ window }},
    {%- endfor %}
    {{ days_between('as_of_date', 'first_date') }} as {{ prefix }}_days_since_first,
    {{ days_between('as_of_date', 'last_date') }} as {{ prefix }}_days_since_last,
    {{ days_between('as_of_date', 'last_click_date') }} as {{ prefix }}_days_since_last_click
{%- endmacro %}

{% macro daily_pair_measures() -%}
    {#- The same of a user and an item together. -#}
    {%- for window in ['7d', 'cum'] -%}
    {{ if_history('n_impressions_' ~ window) }} as user_item_n_impressions_{{ window }},
    {{ if_history('n_clicks_' ~ window) }} as user_item_n_clicks_{{ window }},
    {% endfor -%}
    {{ smoothed_rate('n_clicks_cum', 'n_impressions_cum', 'prior_rate') }} as user_item_click_rate_cum,
    {{ days_between('as_of_date', 'last_date') }} as user_item_days_since_last,
    {{ days_between('as_of_date', 'last_click_date') }} as user_item_days_since_last_click
{%- endmacro %}

{% macro daily_scene_measures() -%}
    {#- The same of each scene, as lists. -#}
    {%- for window in ['7d', 'cum'] -%}
    {{ scene_counts('n_impressions', window) }} as scene_n_impressions_{{ window }},
    {{ scene_rates(window, prior='prior_rate') }} as scene_click_rate_{{ window }}{{ ',' if not loop.last }}
    {% endfor -%}
{%- endmacro %}
