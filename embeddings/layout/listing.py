"""Which modules a folder has, in order: modules.json, or a guess where there is none."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from embeddings.layout.files import ELSEWHERE, only_known, read_json, refuse

_OWN_TYPE = re.compile(
    r"sentence_transformers\.(?:models|base\.modules|sentence_transformer\.modules)\.(?:\w+\.)*(\w+)"
)


def read_modules(file: Path) -> list[tuple[str, str]]:
    """(kind, folder) of each module, in order; modules that do nothing outside training are left out."""
    entries = read_json(file, list)
    modules = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            refuse(file, f"entry {number} is {entry!r}", 'Expected objects with "name", "path" and "type".')
        path = entry.get("path", "")
        if not isinstance(path, str) or "\\" in path or ":" in path or _leaves(path):
            refuse(file, f"entry {number} has the path {path!r}", "Expected a folder inside the model's own.")
        only_known(file, entry, {"idx", "name", "path", "type", "kwargs"})
        if entry.get("kwargs"):
            refuse(file, f"entry {number} takes kwargs {entry['kwargs']!r} from its caller", ELSEWHERE)
        modules.append((_kind(file, entry["type"]), path))
    kinds = [kind for kind, _ in modules]
    if not kinds or kinds[0] != "Transformer" or kinds.count("Transformer") > 1:
        refuse(file, f"it lists {', '.join(kinds) or 'no modules'}", "Expected one Transformer, and it first.")
    if len(kinds) > 1 and (kinds[1] != "Pooling" or kinds.count("Pooling") > 1):
        refuse(
            file,
            f"it lists {', '.join(kinds)}",
            "Expected one Pooling, right after the Transformer: modules that"
            " change the states of tokens aren't supported.",
        )
    return [(kind, path) for kind, path in modules if kind != "Dropout"]


def _kind(file: Path, name: str) -> str:
    match = _OWN_TYPE.fullmatch(name)
    if not match:
        refuse(
            file,
            f"it has a module of type {name!r}",
            "That is code of the model's own (or of another kind of"
            " model), and no code of a model folder is run. " + ELSEWHERE,
        )
    kind = match[1]
    if kind not in ("Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout"):
        refuse(
            file,
            f"it has a module of type {name!r}",
            "Modules that are applied here: Transformer, Pooling, Dense, LayerNorm, Normalize. " + ELSEWHERE,
        )
    return kind


def _leaves(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.is_absolute() or ".." in pure.parts


def guess_modules(folder: Path) -> list[tuple[str, str]]:
    """A folder without modules.json: a Transformer, and a Pooling and a Normalize where their folders are there."""
    modules = [("Transformer", "")]
    for path in sorted(folder.glob("[0-9]*_*")) if folder.is_dir() else []:
        kind = path.name.partition("_")[2]
        if kind not in ("Pooling", "Normalize"):
            refuse(path, "its folder has no modules.json that says where this module stands", "Copy modules.json too.")
        modules.append((kind, path.name))
    return modules
