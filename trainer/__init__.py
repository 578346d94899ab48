"""From the training mart to a run directory: data -> batches -> logits -> metrics -> report."""

__version__ = "0.1.0"
