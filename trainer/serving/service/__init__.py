"""The HTTP service: scores a user's candidates and takes outcomes, over a state and a run."""
