-- Grain: one item, scene and day (UTC) on which it was shown or an outcome became known.
{{ config(meta={'refresh': 'day'}) }}
{{ daily_counts(['item_id', 'scene']) }}
