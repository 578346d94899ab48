"""`warehouse prove`: with less of one's own log to see, is every feature still what it was?

Nothing here knows what a feature means or how its SQL is written. A sample of stg_events is altered (alterations.py),
the project's models are rebuilt from it in memory (rebuild.py), and what an event may not see must not change it
(verdicts.py).
"""
