"""Where relative paths begin: in the project's folder, from whichever folder dbt is called.

dbt itself stays in the caller's folder, so `dbt build --project-dir ../first-impression` would look there for data/.
"""

import os
from pathlib import Path

from dbt.flags import get_flags


def project_folder() -> Path | None:
    """The project's folder if dbt was called from another one; else None."""
    project = getattr(get_flags(), "PROJECT_DIR", None)
    if project is None or Path(project).samefile(Path.cwd()):
        return None
    return Path(project).resolve()


def in_project(path: str) -> str:
    """A path as DuckDB and Python are given it: relative ones are the project's, `~` is the user's home.

    It stays as written if dbt was called from the project's folder: what is stored then survives a move of the folder.
    """
    path = os.path.expanduser(path)  # noqa: PTH111 (a Path would drop a leading ./)
    project = project_folder()
    return path if project is None or "://" in path else str(project / path)
