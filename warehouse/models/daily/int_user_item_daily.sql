-- Grain: one user, item and day (UTC) on which they met or an outcome became known.
{{ daily_counts(['user_id', 'item_id']) }}
