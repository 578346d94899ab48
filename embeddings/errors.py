"""The one exception that is meant for the user's eyes."""

from storage.installed import lacking


class EmbeddingsError(Exception):
    """Says what was expected, what was found and what to do next. The command line prints it and exits with 2."""


def require_extra(extra: str, what: str) -> None:
    """Raises: EmbeddingsError, with the pip command, where `what` needs packages of an extra that aren't installed."""
    if message := lacking(extra, what):
        raise EmbeddingsError(message)
