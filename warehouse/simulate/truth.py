"""A written log's hidden side, read back: of a whole log, or of a folder with all parts of one."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .bayes import Truth
from .parameters import FIRST_DAY, PROBABILITY_STEPS
from .request import Request, SimulationError, difference_of_parts

_MARKER = re.compile(r"part(0|[1-9]\d*)\.json")  # of part k - 1: parts have numbers from 1, files from 0


def truth_name(k: int) -> str:
    return f"true_probabilities_part{k}.parquet"


def marker_file(out: Path, k: int) -> Path:
    return out / "truth" / f"part{k}.json"


def markers(out: Path) -> dict[int, dict]:
    """What each finished part at `out` says of itself, by the number of its file, in that order.

    Raises: SimulationError for one that can't be read.
    """
    folder = out / "truth"
    names = [match for path in (folder.iterdir() if folder.is_dir() else ()) if (match := _MARKER.fullmatch(path.name))]
    found = {}
    for k in sorted(int(name[1]) for name in names):
        try:
            found[k] = json.loads(marker_file(out, k).read_text(encoding="utf-8"))
            _ = found[k]["request"], found[k]["files"], found[k]["derived"], found[k]["rows"]
        except (ValueError, KeyError, TypeError) as error:
            raise SimulationError(
                f"{marker_file(out, k)} can't be read ({error!r}). Remove it and make part {k + 1} again."
            ) from error
    return found


def surplus_files(expected: list[str], out: Path) -> list[str]:
    """Files and folders at `out`, hidden ones apart, that are neither the log's expected files nor its truth."""
    known = {*expected, "truth"}
    return sorted(path.name for path in out.iterdir() if path.name not in known and not path.name.startswith("."))


def wrong_size(out: Path, files: dict[str, int]) -> str:
    """The first file that is missing or has another size, as text; empty if none is."""
    for name, size in files.items():
        path = out / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
    return ""


def incomplete(out: Path) -> str:
    """Why the log at `out`, whole or in parts, is incomplete, or an empty text."""
    done = out / "truth" / "DONE"
    parts = markers(out)
    if parts:
        return "a whole log and parts of one in the same folder" if done.is_file() else _incomplete_parts(out, parts)
    if not done.is_file():
        return "no truth/DONE"
    return wrong_size(out, json.loads(done.read_text())["files"])


def _incomplete_parts(out: Path, parts: dict[int, dict]) -> str:
    first, *others = parts
    for k in others:
        unlike = difference_of_parts(parts[first], parts[k])
        if unlike:
            return f"parts {first + 1} and {k + 1} of different logs: {unlike}"
    request = Request(**parts[first]["request"])
    missing = [k + 1 for k in range(request.parts) if k not in parts]
    if missing:
        shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        return f"{len(parts)} of {request.parts} parts (missing: {shown})"
    surplus = surplus_files(request.file_names(), out)
    if surplus:
        return f"{surplus[0]} among the parts"
    problems = (wrong_size(out, marker["files"]) for marker in parts.values())
    return next((problem for problem in problems if problem), "")


def made_by(out: Path) -> dict:
    """The request, parameters and versions that made the log at `out`, whole or in parts."""
    parts = markers(out)
    if parts:
        return next(iter(parts.values()))
    return json.loads((out / "truth" / "parameters.json").read_text(encoding="utf-8"))


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
    """The truth of a written log, part by part; on_rows is called with the number of rows read and the total.

    Raises: SimulationError if there is no log at `out`, or it isn't whole.
    """
    problem = incomplete(out)
    if problem:
        raise SimulationError(
            f"expected a simulated log at {out}, found {problem}. Make one: warehouse simulate --out {out}"
        )
    columns = ["user_id", "item_id", "scene", "log_time", "label", "true_probability"]
    names = [truth_name(k) for k in markers(out)] or ["true_probabilities.parquet"]
    paths = [out / "truth" / name for name in names]
    total = sum(pq.read_metadata(path).num_rows for path in paths)
    numbers: dict[str, dict[str, int]] = {"user_id": {}, "item_id": {}}
    kept = Kept(total)
    for table in _row_groups(paths, columns):
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
        on_rows(table.num_rows, total)
    return kept.truth()


def _row_groups(paths: list[Path], columns: list[str]) -> Iterator[pa.Table]:
    for path in paths:
        with pq.ParquetFile(path, read_dictionary=["user_id", "item_id", "scene"]) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns).combine_chunks()


def _numbered(column: pa.ChunkedArray, known: dict[str, int]) -> np.ndarray:
    """Ids as numbers from 0, the same in every row group."""
    chunk = column.combine_chunks().unify_dictionaries() if column.num_chunks > 1 else column.chunk(0)
    numbers = np.array([known.setdefault(x, len(known)) for x in chunk.dictionary.to_pylist()], np.int32)
    return numbers[chunk.indices.to_numpy()]
