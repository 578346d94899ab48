-- Grain: one user, scene and day (UTC) on which it was shown or an outcome became known.
{{ daily_counts(['user_id', 'scene']) }}
