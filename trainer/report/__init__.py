"""One HTML file from finished runs: opens offline, light and dark, asks nothing of the network.

It is drawn by the packages of the extra `report`. `write_report` loads on first use: the trainer does without it.
"""

from typing import TYPE_CHECKING, Any

from trainer.base.errors import require_extra

if TYPE_CHECKING:
    from trainer.report.page import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    """Raises: TrainerError where the extra isn't installed."""
    if name != "write_report":
        raise AttributeError(f"module 'trainer.report' has no attribute {name!r}; it has {', '.join(__all__)}")
    require_extra("report", "A report")
    from trainer.report.page import write_report

    return write_report
