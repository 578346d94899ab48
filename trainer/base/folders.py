"""Folders that a user names in the environment."""

from __future__ import annotations

import os
from pathlib import Path

from trainer.base.errors import TrainerError

OWN_MODELS = "FIRST_IMPRESSION_MODELS"


def model_folders() -> list[Path]:
    """Folders with models of the user's own. Raises: TrainerError for one that isn't there."""
    folders = [Path(name).resolve() for name in os.environ.get(OWN_MODELS, "").split(os.pathsep) if name]
    for folder in folders:
        if not folder.is_dir():
            raise TrainerError(f"${OWN_MODELS} names {folder}, which isn't a folder. Expected folders of model files.")
    return folders
