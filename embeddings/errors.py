"""The exceptions whose messages are for the user."""

from pathlib import Path

from storage.installed import lacking
from storage.places import told


class EmbeddingsError(Exception):
    """Says what was expected, what was found and what to do next. The command line prints it and exits with 2."""

    def __init__(self, message: str = "") -> None:
        super().__init__(told(message))


def require_extra(extra: str, what: str) -> None:
    """Raises: EmbeddingsError, with the pip command, where `what` needs packages of an extra that aren't installed."""
    if message := lacking(extra, what):
        raise EmbeddingsError(message)


class NoTextsError(EmbeddingsError):
    """The log behind a texts mart has no texts, so there is nothing to encode."""

    def __init__(self, folder: Path):
        super().__init__(
            f"The log behind {folder} has no texts (its texts mart has no rows), so there is nothing to encode. Stages"
            " that read no texts, such as 03_ple, need no vectors. If the log does have texts, let its adapter pass on"
            " item_title, item_entities or user_texts (docs/bring-your-own-log.md) and run `dbt build`."
        )
