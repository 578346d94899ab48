"""The one exception that is meant for the user's eyes."""


class EmbeddingsError(Exception):
    """Says what was expected, what was found and what to do next. The command line prints it and exits with 2."""
