"""What calls that were killed left behind: folders `<name>-<process>` whose process is gone."""

import os
import shutil
from pathlib import Path

from psutil import pid_exists


def clear_leftovers(folder: Path, name: str) -> None:
    """Remove the folders `<name>-<process>` that calls left whose process is gone; what a living one writes stays."""
    for path in folder.glob(f"{name}-*"):
        owner = path.name.removeprefix(f"{name}-")
        if owner.isdigit() and (int(owner) == os.getpid() or not pid_exists(int(owner))):
            shutil.rmtree(path, ignore_errors=True)
