"""Held-out rows: predicted, calibrated, measured, compared; drift and text coverage."""
