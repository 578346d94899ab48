"""What the processes of one fit do together beside training: they agree on what they fit, read their days of the mart,
and describe them. A process by itself is one that reads all days.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.base.code_hash import code_hash
from trainer.base.paging import peak_rss_mib
from trainer.base.team import Team
from trainer.columns.build import open_mart
from trainer.columns.shares import WHOLE, Share, open_share
from trainer.columns.store import Columns, facts
from trainer.config import Stage, dump_stage
from trainer.contract.schema import Contract
from trainer.evaluation.drift import drift
from trainer.evaluation.texts import text_facts
from trainer.training.distributed import device
from trainer.training.fitted import Fitted


def check_alike(stage: Stage, contract: Contract, options: dict[str, Any], team: Team) -> None:
    """Raises: TrainerError where the processes don't fit one stage on one mart by one version of the code."""
    if team.size == 1:
        return
    sizes = [f"{path.relative_to(contract.folder)}: {path.stat().st_size} bytes" for path in contract.files]
    same = {
        "version of the code": code_hash(),
        "version of PyTorch or NumPy": f"torch {torch.__version__}, numpy {np.__version__}",
        "kind of device": device().type,
        "stage": dump_stage(stage),
        "set of options": "\n".join(f"{name}: {value}" for name, value in options.items()),
        "mart": "\n".join([json.dumps(json.loads(contract.build), indent=1), *sizes]),
    }
    team.check_same(same, "Start all processes with the same command, on copies of the same files.")


def open_own(
    contract: Contract, marts: Path, mart: str | None, manifest: Path | None, team: Team
) -> tuple[Contract, Columns, Share]:
    """The columns that this process reads. Raises: as `open_mart` and `open_share`."""
    if team.size == 1:
        return *open_mart(marts, mart, manifest, contract), WHOLE
    return open_share(contract, team)


@dataclass(frozen=True)
class Description:
    """What was trained on, over all processes. texts: None for a stage that reads none."""

    splits: dict[str, Any]
    not_finite: dict[str, int]
    drift: list[dict[str, Any]]
    texts: dict[str, Any] | None
    text_ids: list[int]
    peak_rss_mib: list[int]


def describe(fitted: Fitted, contract: Contract, columns: Columns, share: Share) -> Description:
    """What was trained on. To be called by all processes; what it returns is whole in the first one."""
    team = share.team
    splits, moved = facts(columns, team), drift(columns, share=share)
    not_finite: dict[str, int] = {}
    for part in team.to_leader(columns.not_finite):
        for name, n in part.items():
            not_finite[name] = not_finite.get(name, 0) + n
    reads_texts = bool(fitted.inputs.texts or fitted.inputs.llm)
    text_ids = columns.text_ids if reads_texts else []
    if team.size > 1:
        parts = team.to_leader(np.array(text_ids, np.int64))
        text_ids = np.unique(np.concatenate([np.empty(0, np.int64), *parts])).tolist()
    return Description(
        splits,
        not_finite,
        moved,
        text_facts(fitted, contract, columns, team),
        text_ids,
        team.to_leader(peak_rss_mib()),
    )
