"""From the training mart to a run directory: data -> batches -> logits -> metrics -> report.

    from trainer import load_run

    load_run("runs/movielens/01_dnn").predict(rows)

The names load on first use, so `import trainer` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.api import Run, load_run
    from trainer.base.errors import TrainerError

    __version__: str

_HOMES = {"Run": "trainer.api", "TrainerError": "trainer.base.errors", "load_run": "trainer.api"}
__all__ = ["Run", "TrainerError", "load_run"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("storage.installed").version()
    if name not in _HOMES:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
