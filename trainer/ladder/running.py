"""Make the runs of a ladder: one process a run, several at a time, finished ones kept."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from trainer.base.errors import TrainerError
from trainer.base.progress import console, progress, working
from trainer.columns.build import open_mart
from trainer.columns.store import Columns
from trainer.config import parse_stage
from trainer.contract.schema import Contract
from trainer.ladder.lock import FILE, Lock, comparisons_of, declare
from trainer.ladder.power import smallest_effect
from trainer.ladder.rungs import Rung, why_redo
from trainer.ladder.table import NO_AUC
from trainer.metrics.metrics import too_small


@dataclass(frozen=True)
class Made:
    """What came of the runs. lock: what was declared before them. failed: rung -> the first error of its seeds."""

    contract: Contract
    lock: Lock
    content_hash: str
    kept: int
    fitted: int
    failed: dict[str, str]


def make_runs(
    rungs: list[Rung],
    seeds: list[int],
    marts: Path,
    folder: Path,
    *,
    mart: str | None = None,
    manifest: Path | None = None,
    jobs: int = 1,
    threads: int | None = None,
    vectors: Path | None = None,
    command: str = "",
) -> Made:
    """Fit every rung with every seed under `folder`, where that isn't done already; a fit that was killed goes on.

    Before anything is fitted, ladder.lock declares what will be compared (lock.py).

    Each run is a process of its own: its peak memory is its own, and what kills it kills no other. `threads` is for
    all jobs together and None means the stage's own; each job gets an even part. A rung that fails doesn't stop the
    others.
    Raises: TrainerError where the test rows are too small to have an AUC, since rungs are compared by it.
    """
    contract, columns = open_mart(marts, mart, manifest)  # once, before the jobs all want to build the same cache
    if too_small(columns.label_N[columns.rows("test")]):
        raise TrainerError(NO_AUC)  # now, not after hours of fitting
    content_hash, text_ids = columns.content_hash, columns.text_ids if columns.texts else []
    lock = _declared(folder, rungs, seeds, contract, columns)
    todo: list[tuple[Rung, int, dict[str, Any]]] = []
    for rung in rungs:
        for seed in seeds:
            stage = rung.with_seed(seed, max(1, (threads or rung.stage.threads) // jobs))
            why = why_redo(rung.run(folder, seed), stage, content_hash, text_ids)
            if why is None:
                continue
            if why != "not there yet":
                console.print(f"{rung.name} seed {seed}: made again, {why}.", style="yellow")
            todo.append((rung, seed, stage.model_dump()))
    if jobs > 1:
        todo.reverse()  # the last rungs take longest: started first, none of them is waited for alone at the end
    kept = len(rungs) * len(seeds) - len(todo)
    failed: dict[str, str] = {}
    if kept:
        console.print(f"{kept} finished runs are kept, {len(todo)} are to be made.")
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(jobs, context, initializer=_prepare, initargs=(jobs > 1,), max_tasks_per_child=1) as pool,
        progress(quiet=jobs == 1) as bar,
    ):
        task = bar.add_task("Fitting", total=len(todo), note="", unit="runs")
        waiting: dict[Future[None], tuple[Rung, int]] = {}
        for rung, seed, raw in todo:
            run = rung.run(folder, seed)
            waiting[pool.submit(_fit, raw, contract.folder, run, manifest, vectors, command)] = (rung, seed)
        for done, future in enumerate(as_completed(waiting), start=1):
            rung, seed = waiting[future]
            try:
                future.result()
            except TrainerError as error:
                failed.setdefault(rung.name, f"seed {seed}: {error}")
            except BrokenProcessPool:
                raise TrainerError(
                    f"A process that fitted was killed while {rung.name}, seed {seed}, was waited for; most often "
                    "memory ran out. Run the same command again with fewer --jobs: what is finished is kept."
                ) from None
            bar.update(task, advance=1, note=f"{rung.name} seed {seed}")
            if jobs == 1:
                console.print(f"{done} of {len(todo)} made: {rung.name} seed {seed}")
    return Made(contract, lock, content_hash, kept, len(todo) - len(failed), failed)


def _declared(folder: Path, rungs: list[Rung], seeds: list[int], contract: Contract, columns: Columns) -> Lock:
    """The declaration in the folder, made now where there is none for these rows; says what it comes to."""
    new: list[dict[str, Any]] = []

    def effect() -> dict[str, Any]:
        with working("What this log can show"):
            new.append(smallest_effect(contract, columns, len(comparisons_of(rungs))))
        return new[0]

    lock = declare(folder, rungs, seeds, columns.content_hash, effect)
    if new:
        console.print(f"Declared {len(lock.comparisons)} comparisons in {folder / FILE}.")
        console.print(new[0]["said"], soft_wrap=True, markup=False)
    return lock


def _prepare(quiet: bool) -> None:
    """In a new process: be quiet where several share the terminal, and end with the parent, however that ends."""
    console.quiet = quiet
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with(process: BaseProcess) -> None:
        process.join()
        os._exit(1)

    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def _fit(raw: dict[str, Any], mart: Path, run: Path, manifest: Path | None, vectors: Path | None, command: str) -> None:
    from trainer.inputs.vectors import DEFAULT_VECTORS
    from trainer.run.directory import fit_run
    from trainer.training.checkpoint import CheckpointError  # in the child: torch

    run.parent.mkdir(parents=True, exist_ok=True)
    console.print(f"{run}", style="bold")
    fit = functools.partial(
        fit_run,
        parse_stage(raw, str(run)),
        mart.parent,
        run,
        mart=mart.name,
        manifest=manifest,
        force=(run / "DONE").exists(),
        command=command,
        vectors=vectors or DEFAULT_VECTORS,
    )
    try:
        fit(resume=True)  # a ladder that was killed left a checkpoint
    except CheckpointError:
        fit()  # the stage, the rows or the code have changed since
