-- Grain: one user, scene and day (UTC) on which it was shown or an outcome became known.
{{ config(meta={'refresh': 'day'}) }}
{{ daily_counts(['user_id', 'scene']) }}
