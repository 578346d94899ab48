-- Grain: one item, scene and day (UTC) on which it was shown or an outcome became known.
{{ daily_counts(['item_id', 'scene']) }}
