"""What stops `warehouse init`, in words for whoever runs it."""


class InitError(Exception):
    """Says what was expected, what was found and what to do."""
