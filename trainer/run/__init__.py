"""The run directory: written, sealed, checked, traced back to its data."""
