"""The output folder, written atomically.

<out>/antm2c_10m_part0.csv ...          the log, all that an adapter reads
<out>/truth/true_probabilities.parquet  one row for each row of the log, joined by event_id
<out>/truth/parameters.json             all that made it
<out>/truth/bayes.json                  the Bayes AUC overall, by scene and by cold-start cell
<out>/truth/DONE                        files and their sizes; written last
"""

import json
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage import atomic

from .bayes import Truth, bayes_report
from .columns import TRUTH_SCHEMA, log_schema, make_block
from .events import Block, Drawn, Intercepts, plan, solve_intercepts
from .log_files import CsvFile, ParquetFile, as_csv
from .parameters import FIRST_DAY, MODEL_VERSION, PROBABILITY_STEPS, Parameters
from .world import World, make_world

LOG_BYTES_A_ROW = {"csv": 450, "parquet": 220}  # rather more than measured, with the truth's share


class SimulationError(Exception):
    """A message for the user: what was expected, what was found, what to do."""


@dataclass(frozen=True)
class Request:
    """What identifies a log: the same request gives the same bytes, whatever the number of threads."""

    events: int
    seed: int
    parts: int
    format: str  # csv or parquet

    def file_names(self) -> list[str]:
        return [f"antm2c_10m_part{k}.{self.format}" for k in range(self.parts)]

    def identity(self, p: Parameters) -> dict:
        wanted = {"events": self.events, "seed": self.seed, "parts": self.parts, "format": self.format}
        return {"model_version": MODEL_VERSION, "request": wanted, "parameters": p.as_json()}


def simulate(
    request: Request,
    out: Path,
    threads: int,
    force: bool = False,
    parameters: Parameters | None = None,
    on_rows: Callable[[int], None] = lambda rows: None,
) -> bool:
    """Write the log to `out`; False if it is already there, complete and made by the same request.

    Raises: SimulationError if something else is at `out` (unless forced), or if the disk is too small.
    """
    p = parameters or Parameters()
    out = out.absolute()
    if not _must_write(request.identity(p), out, force):
        return False
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SimulationError(f"can't make the folder {out.parent}: {error.strerror}. Choose another --out.") from error
    atomic.remove_leftovers(out)
    needed, free = request.events * LOG_BYTES_A_ROW[request.format], shutil.disk_usage(out.parent).free
    if needed > free:
        raise SimulationError(
            f"expected room for about {needed / 1e9:.1f} GB in {out.parent}, found {free / 1e9:.1f} GB. "
            "Free some, take fewer --events, or use --format parquet."
        )
    try:
        with atomic.folder(out) as aside:
            (aside / "truth").mkdir()
            _write(request, p, aside, threads, on_rows)
    except OSError as error:
        raise SimulationError(
            f"can't write to {out.parent}: {error.strerror or error}. Nothing was left there."
        ) from error
    return True


def _must_write(identity: dict, out: Path, force: bool) -> bool:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return True
    if not out.is_dir():
        raise SimulationError(f"expected a folder or nothing at {out}, found a file. Choose another --out.")
    written = out / "truth" / "parameters.json"
    if not written.is_file():
        raise SimulationError(f"expected a simulated log or nothing at {out}, found other files. Choose another --out.")
    if force:
        return True
    try:
        difference = _difference(identity, json.loads(written.read_text()))
    except ValueError:
        difference = "its truth/parameters.json can't be read"
    if difference:
        raise SimulationError(
            f"{out} holds another simulated log: {difference}. Choose another --out, or --force to replace it."
        )
    problem = incomplete(out)
    if problem:
        raise SimulationError(f"{out} is no longer whole: {problem}. Use --force to make it again.")
    return False


def _difference(wanted: dict, found: dict) -> str:
    """What differs, as text: 'seed is 8 there, 7 was asked for'. Empty if nothing does."""
    differences = []
    if found.get("model_version") != wanted["model_version"]:
        there, here = found.get("model_version"), wanted["model_version"]
        differences.append(f"model_version is {there} there, this program's is {here}")
    for part in ("request", "parameters"):
        there = found.get(part, {})
        for name, value in wanted[part].items():
            if there.get(name) != value:
                differences.append(f"{name} is {there.get(name)} there, {value} was asked for")
    return "; ".join(differences)


def incomplete(out: Path) -> str:
    """Why the log at `out` is incomplete, or an empty text."""
    done = out / "truth" / "DONE"
    if not done.is_file():
        return "no truth/DONE"
    for name, size in json.loads(done.read_text())["files"].items():
        path = out / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
    return ""


def _write(request: Request, p: Parameters, folder: Path, threads: int, on_rows: Callable[[int], None]) -> None:
    world = make_world(request.seed, request.events, p)
    intercepts = solve_intercepts(world)
    blocks = plan(request.events, request.parts)
    names = request.file_names()
    kept = Kept(request.events)
    with ExitStack() as stack:
        truth = stack.enter_context(ParquetFile(folder / "truth" / "true_probabilities.parquet", TRUTH_SCHEMA))
        parts: list[CsvFile | ParquetFile] = []
        for name in names:
            if request.format == "csv":
                parts.append(stack.enter_context(CsvFile(folder / name)))
            else:
                parts.append(stack.enter_context(ParquetFile(folder / name, log_schema())))
        for block, log, truth_rows, rows in _made(world, intercepts, blocks, names, request.format, threads):
            parts[block.part].write(log)
            truth.write(truth_rows)
            kept.add(
                block.n_rows,
                user=rows.user,
                item=rows.item,
                scene=rows.scene,
                day=block.day,
                label=rows.label,
                millionths=rows.millionths,
            )
            on_rows(block.n_rows)
    derived = {
        "n_users": len(world.users.ids),
        "n_catalogue_items": len(world.items.ids),
        "n_entities": len(world.entities.names),
        "scene_intercepts": intercepts.scene.round(6).tolist(),
        "period_intercepts": intercepts.period.round(6).tolist(),
    }
    versions = {"numpy": np.__version__, "pyarrow": pa.__version__}
    _write_json(folder / "truth" / "parameters.json", request.identity(p) | {"derived": derived, "versions": versions})
    _write_json(folder / "truth" / "bayes.json", bayes_report(kept.truth()))
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    sizes = {f.relative_to(folder).as_posix(): f.stat().st_size for f in files}
    _write_json(folder / "truth" / "DONE", {"rows": request.events, "files": sizes})


_Made = tuple[Block, pa.Buffer | pa.Table, pa.Table, Drawn]  # the log as it is written, the truth, the drawn rows


def _made(
    world: World, intercepts: Intercepts, blocks: list[Block], names: list[str], form: str, threads: int
) -> Iterator[_Made]:
    """Blocks in order, made by `threads` threads; at most two per thread wait in memory."""

    def make(block: Block) -> _Made:
        # The last of several parts has log_time by the minute, as one public copy of the real log does.
        short = len(names) > 1 and block.part == len(names) - 1
        log, truth, rows = make_block(world, intercepts, block, names[block.part], short)
        return block, (as_csv(log) if form == "csv" else log.cast(log_schema())), truth, rows

    waiting: deque[Future[_Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for block in blocks:
                waiting.append(pool.submit(make, block))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Kept:
    """The few numbers per row that the Bayes AUC needs, in plain arrays (15 bytes per row)."""

    def __init__(self, n: int) -> None:
        kinds = dict.fromkeys(("user", "item", "millionths"), np.int32) | dict.fromkeys(
            ("scene", "day", "label"), np.int8
        )
        self._arrays = {name: np.empty(n, kind) for name, kind in kinds.items()}
        self._at = 0

    def add(self, n: int, **columns: np.ndarray | int) -> None:
        for name, array in self._arrays.items():
            array[self._at : self._at + n] = columns[name]
        self._at += n

    def truth(self) -> Truth:
        return Truth(**self._arrays)


def read_truth(out: Path, on_rows: Callable[[int, int], None] = lambda rows, total: None) -> Truth:
    """The truth of a written log, from its Parquet file; on_rows is called with the number of rows read and the total.

    Raises: SimulationError if there is no log at `out`, or it isn't whole.
    """
    problem = incomplete(out)
    if problem:
        raise SimulationError(
            f"expected a simulated log at {out}, found {problem}. Make one: warehouse simulate --out {out}"
        )
    columns = ["user_id", "item_id", "scene", "log_time", "label", "true_probability"]
    file = pq.ParquetFile(out / "truth" / "true_probabilities.parquet", read_dictionary=["user_id", "item_id", "scene"])
    numbers: dict[str, dict[str, int]] = {"user_id": {}, "item_id": {}}
    kept = Kept(file.metadata.num_rows)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=columns).combine_chunks()
        day = table["log_time"].to_numpy().astype("datetime64[D]") - np.datetime64(FIRST_DAY)
        kept.add(
            table.num_rows,
            user=_numbered(table["user_id"], numbers["user_id"]),
            item=_numbered(table["item_id"], numbers["item_id"]),
            scene=table["scene"].cast(pa.string()).cast(pa.int8()).to_numpy(),
            day=day.astype(np.int64),
            label=table["label"].to_numpy(),
            millionths=np.rint(table["true_probability"].to_numpy() * PROBABILITY_STEPS),
        )
        on_rows(table.num_rows, file.metadata.num_rows)
    return kept.truth()


def _numbered(column: pa.ChunkedArray, known: dict[str, int]) -> np.ndarray:
    """Ids as numbers from 0, the same in every row group."""
    chunk = column.combine_chunks().unify_dictionaries() if column.num_chunks > 1 else column.chunk(0)
    numbers = np.array([known.setdefault(x, len(known)) for x in chunk.dictionary.to_pylist()], np.int32)
    return numbers[chunk.indices.to_numpy()]


def _write_json(path: Path, value: dict) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")
