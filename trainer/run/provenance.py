"""Where a run came from: dbt's side of it, the data, the code."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from storage import installed
from storage.places import recorded, shown
from trainer.base.code_hash import code_hash
from trainer.base.files import read_json
from trainer.contract.schema import Contract
from trainer.inputs.vectors import DEFAULT_VECTORS, vectors_hashes
from trainer.training.fitted import Fitted


def lineage(
    fitted: Fitted, contract: Contract, content_hash: str, text_ids: Sequence[int], command: str
) -> dict[str, Any]:
    """What lineage.json holds. text_ids: those that the mart holds, for a stage that reads texts."""
    stage, spaces = fitted.stage, [space for space in (fitted.inputs.texts, fitted.inputs.llm) if space]
    packages = ("torch", "numpy", "lightgbm", "scikit-learn", "pyarrow", "safetensors")
    return {
        "dataset": contract.dataset,
        "marts": shown(contract.folder.parent),
        "mart": contract.folder.name,
        "n_rows": contract.n_rows,
        "dbt": contract.lineage,
        "manifest_note": None if contract.lineage["manifest"] else "no manifest; the mart's own build record was used",
        "data_hash": contract.data_hash,
        "content_hash": content_hash,
        "columns": [asdict(c) for c in contract.columns],
        "vectors": shown(fitted.vectors),
        "vectors_hashes": vectors_hashes(fitted.vectors, [s.store for s in spaces], text_ids),
        "variables": contract.variables,
        "seed": stage.seed,
        "threads": stage.threads,
        "command": command,
        "git_commit": _git_commit(),
        "code_hash": code_hash(),
        "machine": platform.machine(),
        "versions": {"trainer": installed.version(), "python": platform.python_version()}
        | {p: installed.version_of(p) for p in packages},
    }


def _git_commit() -> str | None:
    """The commit of the code that runs, with `-dirty` where tracked files differ from it; None outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def vectors_of(run: Path) -> Path:
    """The folder of the vector stores that a run was trained with."""
    return recorded(read_json(run / "lineage.json").get("vectors", DEFAULT_VECTORS))
