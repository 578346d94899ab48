"""Metrics of predictions, and their bootstrap. NumPy alone."""
