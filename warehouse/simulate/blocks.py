"""Blocks made by several threads, in order, and what the writers of a whole log and of one part share."""

import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from .columns import log_schema, make_block
from .events import Block, Drawn, Intercepts, solve_intercepts
from .log_files import CsvFile, ParquetFile, as_csv
from .parameters import Parameters
from .request import Request, SimulationError
from .world import World, make_world

OnRows = Callable[[int], None]


@dataclass(frozen=True)
class Made:
    """A block, its rows of the log as they are written, of the truth, and as they were drawn."""

    block: Block
    log: pa.Buffer | pa.Table
    truth: pa.Table
    drawn: Drawn


@dataclass(frozen=True)
class Maker:
    """Draws any block of the log that `request` asks for: the world, from the seed and the number of events alone."""

    request: Request
    world: World
    intercepts: Intercepts

    @classmethod
    def of(cls, request: Request, p: Parameters) -> "Maker":
        world = make_world(request.seed, request.events, p)
        return cls(request, world, solve_intercepts(world))

    def derived(self) -> dict:
        """What follows from the request. The intercepts are solved on the whole world, so they are its fingerprint."""
        return {
            "n_users": len(self.world.users.ids),
            "n_catalogue_items": len(self.world.items.ids),
            "n_entities": len(self.world.entities.names),
            "scene_intercepts": self.intercepts.scene.round(6).tolist(),
            "period_intercepts": self.intercepts.period.round(6).tolist(),
        }

    def made(self, blocks: list[Block], threads: int) -> Iterator[Made]:
        """Blocks in order, made by `threads` threads; at most two per thread wait in memory."""
        names = self.request.file_names()

        def make(block: Block) -> Made:
            # The last of several parts has log_time by the minute, as one public copy of the real log does.
            short = len(names) > 1 and block.part == len(names) - 1
            log, truth, rows = make_block(self.world, self.intercepts, block, names[block.part], short)
            written = as_csv(log) if self.request.format == "csv" else log.cast(log_schema())
            return Made(block, written, truth, rows)

        waiting: deque[Future[Made]] = deque()
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


def library_versions() -> dict[str, str]:
    return {"numpy": np.__version__, "pyarrow": pa.__version__}


def log_file(path: Path, form: str) -> AbstractContextManager[CsvFile | ParquetFile]:
    return CsvFile(path) if form == "csv" else ParquetFile(path, log_schema())


def make_parent(folder: Path) -> None:
    """Raises: SimulationError where the folder can't be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SimulationError(f"can't make the folder {folder}: {error.strerror}. Choose another --out.") from error


def write_json(path: Path, value: dict) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")
