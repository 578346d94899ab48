-- Grain: one scene and day (UTC) on which it was shown or an outcome became known.
{{ daily_counts(['scene']) }}
