"""From columns to batches: fitted features, text vectors, the batcher."""
