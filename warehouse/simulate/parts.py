"""One part of a log, made by itself on any machine: byte for byte the file that the whole log has there.

A row depends on the seed, the number of events and parts, and the number of its block; on no other row. The world and
the intercepts follow from the seed and the number of events. So a part is its own blocks, and the world once more.

<out>/antm2c_10m_part1.csv                    part 2 of K
<out>/truth/true_probabilities_part1.parquet  its truth
<out>/truth/part1.json                        all that made it, and its files' sizes; written last
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from storage import atomic

from .blocks import Maker, OnRows, library_versions, log_file, make_parent, write_json
from .columns import TRUTH_SCHEMA
from .events import plan
from .log_files import ParquetFile
from .output import check_room
from .parameters import Parameters
from .request import Request, SimulationError, difference, difference_of_parts
from .truth import marker_file, markers, surplus_files, truth_name, wrong_size


def simulate_part(
    request: Request,
    part: int,
    out: Path,
    threads: int,
    force: bool = False,
    parameters: Parameters | None = None,
    on_rows: OnRows = lambda rows: None,
) -> bool:
    """Write part `part` (from 1) of `request.parts` to `out`; False if it is there, complete and of the same request.

    The rows are never in memory together: the peak is the world and two blocks per thread.
    Raises: SimulationError if `out` holds anything but parts of this log, or if the disk is too small.
    """
    p, out, k = parameters or Parameters(), out.absolute(), part - 1
    if not _must_write(request, request.identity(p), k, out, force):
        return False
    make_parent(out)
    blocks = [b for b in plan(request.events, request.parts) if b.part == k]
    check_room(sum(b.n_rows for b in blocks), request.format, out)
    maker = Maker.of(request, p)
    made_by = request.identity(p) | {"part": part, "derived": maker.derived(), "versions": library_versions()}
    log_path, truth_path = out / request.file_names()[k], out / "truth" / truth_name(k)
    try:
        with atomic.file(log_path) as log_aside, atomic.file(truth_path) as truth_aside:
            with log_file(log_aside, request.format) as log, ParquetFile(truth_aside, TRUTH_SCHEMA) as truth:
                for m in maker.made(blocks, threads):
                    log.write(m.log)
                    truth.write(m.truth)
                    on_rows(m.block.n_rows)
            _check_folder(request, made_by, out)  # others may have come in the meantime
        sizes = {path.relative_to(out).as_posix(): path.stat().st_size for path in (log_path, truth_path)}
        with atomic.file(marker_file(out, k)) as aside:
            write_json(aside, made_by | {"rows": sum(b.n_rows for b in blocks), "files": sizes})
    except OSError as error:
        raise SimulationError(
            f"can't write part {part} to {out}: {error.strerror or error}. Nothing of it was left there."
        ) from error
    return True


def simulate_all_parts(request: Request, out: Path, processes: int, force: bool = False) -> Iterator[tuple[int, bool]]:
    """Make every part in a process of its own, `processes` at a time; yield (part, whether written) as each is done.

    Raises: SimulationError as simulate_part, or when a process dies. Parts that are done stay.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, request.parts), mp_context=spawn, max_tasks_per_child=1) as pool:
        parts = range(1, request.parts + 1)
        running = {pool.submit(simulate_part, request, part, out, 1, force): part for part in parts}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        except BrokenProcessPool:
            raise SimulationError(
                "a process that made a part was ended from outside, perhaps for its memory: each holds the log's whole "
                "world. Finished parts stay; the same command makes the rest, fewer at a time with --threads."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def missing_parts(request: Request, out: Path) -> list[int]:
    """Numbers, from 1, of the parts that aren't at `out` yet."""
    there = markers(out)
    return [k + 1 for k in range(request.parts) if k not in there]


def _must_write(request: Request, identity: dict, k: int, out: Path, force: bool) -> bool:
    if not out.exists():
        return True
    if not out.is_dir():
        raise SimulationError(f"expected a folder or nothing at {out}, found a file. Choose another --out.")
    if (out / "truth" / "parameters.json").exists():
        raise SimulationError(
            f"expected parts of one log or nothing at {out}, found a log made without --part. Choose another --out."
        )
    _check_folder(request, identity, out)
    marker = markers(out).get(k)
    if force or marker is None:
        return True
    problem = wrong_size(out, marker["files"])
    if problem:
        raise SimulationError(f"part {k + 1} at {out} is no longer whole: {problem}. Use --force to make it again.")
    return False


def _check_folder(request: Request, made_by: dict, out: Path) -> None:
    """Raises: SimulationError where `out` holds parts of another log, or files of something else."""
    advice = "Parts of one log need a folder without anything else: choose another --out."
    for k, marker in markers(out).items():
        unlike = difference(made_by, marker)
        if not unlike and "derived" in made_by:
            unlike = difference_of_parts(made_by, marker)
        if unlike:
            raise SimulationError(f"{out} holds part {k + 1} of another simulated log: {unlike}. {advice}")
    surplus = surplus_files(request.file_names(), out)
    if surplus:
        raise SimulationError(
            f"expected nothing but {request.parts} parts of one log at {out}, found {surplus[0]}. {advice}"
        )
