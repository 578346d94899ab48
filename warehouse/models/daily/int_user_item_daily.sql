-- Grain: one user, item and day (UTC) on which they met or an outcome became known.
{{ config(meta={'refresh': 'day'}) }}
{{ daily_counts(['user_id', 'item_id']) }}
