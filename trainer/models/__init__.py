"""One file per model: its `Config`, which is what a stage file says under `model`, and the network. The registry.

A model's kind is the name of its file, so a rung is one file here and one stage's YAML, and nothing else is edited.
$FIRST_IMPRESSION_MODELS names further folders with such files (separated as in $PATH). A file is imported only when a
stage of its kind is read; what a run or a stage file says is never a path.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

from trainer.base.errors import TrainerError, nearest
from trainer.base.folders import OWN_MODELS, model_folders
from trainer.models.keys import ModelConfig

if TYPE_CHECKING:
    from torch import nn

__path__ += [str(folder) for folder in model_folders()]


def kinds() -> list[str]:
    """Every model's kind. Raises: TrainerError where two files have one name."""
    modules = (module for folder in __path__ for module in iter_modules([folder]))
    found = [module.name for module in modules if not module.ispkg and module.name != "keys"]
    for name in found:
        if found.count(name) > 1:
            raise TrainerError(f"Two models are named {name}: rename {name}.py in the folder that ${OWN_MODELS} names.")
    return sorted(found)


@cache
def config_of(kind: str) -> type[ModelConfig]:
    """The `Config` of a model's file. Raises: TrainerError for an unknown kind, or a file without a Config."""
    config = getattr(_module(kind), "Config", None)
    if not (isinstance(config, type) and issubclass(config, ModelConfig)):
        raise TrainerError(f"{_module(kind).__file__}: expected a class Config(keys.ModelConfig), the keys of a stage.")
    return config


def network_of(kind: str) -> type[nn.Module]:
    """The network of a model's file: the one public nn.Module that it defines, made as `Network(sizes, config)`."""
    from torch import nn

    module = _module(kind)
    found = [
        one
        for name, one in vars(module).items()
        if isinstance(one, type) and issubclass(one, nn.Module) and one.__module__ == module.__name__ and name[0] != "_"
    ]
    if len(found) != 1:
        raise TrainerError(f"{module.__file__}: expected one public nn.Module, found {len(found)}.")
    return found[0]


def _module(kind: str) -> ModuleType:
    known = kinds()
    if kind not in known:
        raise TrainerError(
            f"model.kind is {repr(kind)[:100]}{nearest(kind, known)}; expected one of {', '.join(known)}, or the name "
            f"of a model's file in a folder that ${OWN_MODELS} names."
        )
    return import_module(f"{__name__}.{kind}")
