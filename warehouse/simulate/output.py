"""The output folder of a whole log, written atomically.

<out>/antm2c_10m_part0.csv ...          the log, all that an adapter reads
<out>/truth/true_probabilities.parquet  one row for each row of the log, joined by event_id
<out>/truth/parameters.json             all that made it
<out>/truth/bayes.json                  the Bayes AUC overall, by scene and by cold-start cell
<out>/truth/DONE                        files and their sizes; written last
"""

import json
import shutil
from itertools import groupby
from pathlib import Path

from storage import atomic

from .bayes import bayes_report
from .blocks import Maker, OnRows, library_versions, log_file, make_parent, write_json
from .columns import TRUTH_SCHEMA
from .events import plan
from .log_files import ParquetFile
from .parameters import Parameters
from .request import Request, SimulationError, difference
from .truth import Kept, incomplete, markers

LOG_BYTES_A_ROW = {"csv": 450, "parquet": 220}  # rather more than measured, with the truth's share


def simulate(
    request: Request,
    out: Path,
    threads: int,
    force: bool = False,
    parameters: Parameters | None = None,
    on_rows: OnRows = lambda rows: None,
) -> bool:
    """Write the log to `out`; False if it is already there, complete and made by the same request.

    Raises: SimulationError if something else is at `out` (unless forced), or if the disk is too small.
    """
    p = parameters or Parameters()
    out = out.absolute()
    if not _must_write(request.identity(p), out, force):
        return False
    make_parent(out.parent)
    atomic.remove_leftovers(out)
    check_room(request.events, request.format, out.parent)
    try:
        with atomic.folder(out) as aside:
            (aside / "truth").mkdir()
            _write(request, p, aside, threads, on_rows)
    except OSError as error:
        raise SimulationError(
            f"can't write to {out.parent}: {error.strerror or error}. Nothing was left there."
        ) from error
    return True


def check_room(rows: int, form: str, folder: Path) -> None:
    """Raises: SimulationError if the disk of `folder` is too small for so many rows."""
    needed, free = rows * LOG_BYTES_A_ROW[form], shutil.disk_usage(folder).free
    if needed > free:
        raise SimulationError(
            f"expected room for about {needed / 1e9:.1f} GB in {folder}, found {free / 1e9:.1f} GB. "
            "Free some, take fewer --events, or use --format parquet."
        )


def _must_write(identity: dict, out: Path, force: bool) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return True
    if not out.is_dir():
        raise SimulationError(f"expected a folder or nothing at {out}, found a file. Choose another --out.")
    if markers(out):
        raise SimulationError(
            f"expected a whole simulated log or nothing at {out}, found parts made by --part. Choose another --out."
        )
    written = out / "truth" / "parameters.json"
    if not written.is_file():
        raise SimulationError(f"expected a simulated log or nothing at {out}, found other files. Choose another --out.")
    if force:
        return True
    try:
        unlike = difference(identity, json.loads(written.read_text()))
    except ValueError:
        unlike = "its truth/parameters.json can't be read"
    if unlike:
        raise SimulationError(
            f"{out} holds another simulated log: {unlike}. Choose another --out, or --force to replace it."
        )
    problem = incomplete(out)
    if problem:
        raise SimulationError(f"{out} is no longer whole: {problem}. Use --force to make it again.")
    return False


def _write(request: Request, p: Parameters, folder: Path, threads: int, on_rows: OnRows) -> None:
    maker = Maker.of(request, p)
    names = request.file_names()
    kept = Kept(request.events)
    with ParquetFile(folder / "truth" / "true_probabilities.parquet", TRUTH_SCHEMA) as truth:
        made = maker.made(plan(request.events, request.parts), threads)
        for part, blocks in groupby(made, key=lambda m: m.block.part):
            with log_file(folder / names[part], request.format) as log:
                for m in blocks:
                    log.write(m.log)
                    truth.write(m.truth)
                    kept.add(
                        m.block.n_rows,
                        user=m.drawn.user,
                        item=m.drawn.item,
                        scene=m.drawn.scene,
                        day=m.block.day,
                        label=m.drawn.label,
                        millionths=m.drawn.millionths,
                    )
                    on_rows(m.block.n_rows)
    made_by = request.identity(p) | {"derived": maker.derived(), "versions": library_versions()}
    write_json(folder / "truth" / "parameters.json", made_by)
    write_json(folder / "truth" / "bayes.json", bayes_report(kept.truth()))
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    sizes = {f.relative_to(folder).as_posix(): f.stat().st_size for f in files}
    write_json(folder / "truth" / "DONE", {"rows": request.events, "files": sizes})
