"""All rungs over seeds: which runs are needed, running them, the table and its page."""
