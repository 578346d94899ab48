"""The training loop of the networks: batches -> loss -> best weights on validation.

Every random choice is drawn from (seed, epoch) or (seed, step), never from a stream that depends on what ran before,
so a step can be repeated on its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from trainer.base.errors import TrainerError
from trainer.base.progress import Tick, progress, silent
from trainer.base.team import ALONE, Team
from trainer.base.threads import usable
from trainer.config import TrainingConfig
from trainer.inputs.batcher import Batcher
from trainer.metrics.metrics import auc, log_loss, too_small
from trainer.training.checkpoint import Checkpoint
from trainer.training.distributed import side_stream
from trainer.training.feed import fed
from trainer.training.optimizers import optimizers_of, set_rates
from trainer.training.schedule import Schedule, learning_rate_factor
from trainer.training.shuffle import Order
from trainer.training.state import Losses, Progress, exploded
from trainer.training.step import RecordedStep, Step

PREDICT_BATCH = 16_384  # fixed: another size may change the last bit of a logit
READ_EVERY = {"cpu": 1, "cuda": 64}  # steps after which losses are read: a GPU has to be waited for
UNCHOSEN = "validation could not choose (no rows, or one class only)"


@dataclass
class TrainingHistory:
    """What training did: one dict an evaluation, which one was best, and why it stopped."""

    evaluations: list[dict[str, Any]] = field(default_factory=list)
    best_step: int = 0
    stopped: str = ""
    rows_per_second: float = 0.0  # of the training steps alone
    device: str = "cpu"
    columns_on: str = "host"  # where they lay: feed.py


@contextmanager
def determinism(threads: int) -> Iterator[None]:
    """Same input, same bytes: a fixed number of threads and deterministic kernels; both restored afterwards.

    In a forked process one thread, and it stays one: more would wait for ever (trainer/base/threads.py).
    """
    before = usable(torch.get_num_threads()), torch.get_deterministic_debug_mode()
    others = cast(Any, torch.utils.deterministic)  # its one setting is a property of the module, which types don't show
    filled = others.fill_uninitialized_memory
    torch.set_num_threads(usable(threads))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    # Not use_deterministic_algorithms: that imports torch's compilers, which takes longer than a small fit.
    torch.set_deterministic_debug_mode("warn" if torch.cuda.is_available() else "error")
    others.fill_uninitialized_memory = False  # costs a tenth of a step, and nothing reads it
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        others.fill_uninitialized_memory = filled


def can_choose(label_B: np.ndarray) -> bool:
    """Whether validation with these labels can tell a good model from a constant: not without both classes."""
    return len(label_B) > 0 and bool(label_B.min() != label_B.max())


def check_classes(label_B: np.ndarray, what: str, team: Team = ALONE) -> None:
    n_2 = team.sum(np.bincount(label_B, minlength=2).astype(np.int64))
    if n_2.any() and not n_2.all():
        raise TrainerError(
            f"All {n_2.sum()} {what} have the label {n_2.argmax()}; expected both 0 and 1. "
            "Look at the adapter's label, or at val_from in dbt_project.yml."
        )


def predict(model: nn.Module, batcher: Batcher, rows_B: np.ndarray, tick: Tick = silent) -> np.ndarray:
    """Shapes: rows_B -> logits_B, float32. The order of rows_B decides how they are batched.

    Raises: TrainerError where a logit is no number.
    """
    model.eval()
    logits_B = np.empty(len(rows_B), np.float32)
    with torch.inference_mode():
        blocks = batcher.blocks(rows_B, PREDICT_BATCH)
        with closing(fed(batcher, (rows_B[block] for block in blocks))) as feed:
            for block, raw in zip(blocks, feed, strict=True):
                logits_B[block] = model(batcher.encoded(raw)).cpu().numpy()
                tick(len(block))
    if not np.isfinite(logits_B).all():
        raise TrainerError(
            f"{int((~np.isfinite(logits_B)).sum()):,} of {len(logits_B):,} predictions are no number: the weights have "
            "exploded, or their file is damaged. Train again with lower training.learning_rate and "
            "training.embedding_learning_rate."
        )
    return logits_B


def train(
    model: nn.Module,
    batcher: Batcher,
    train_rows: np.ndarray,
    val_rows: np.ndarray,
    config: TrainingConfig,
    seed: int,
    *,
    amp: bool = False,
    team: Team = ALONE,
    checkpoint: Checkpoint | None = None,
) -> TrainingHistory:
    """Train `model` in place; at the end it holds the weights that were best on validation.

    Without validation rows, or with one class only, validation can't choose: all epochs are trained and the last
    weights kept, and `TrainingHistory.stopped` says so.
    amp: bfloat16 in the forward and backward pass, where that is safe; weights and predictions stay float32.
    team: the processes that train together, each on its own rows; only the first one ends with the best weights.
    checkpoint: where to save, and whether to go on from it.
    Raises: TrainerError, naming step and rates, when the loss or the weights explode.
    """
    val_labels = np.concatenate(team.to_leader(batcher.columns.label_N[val_rows]) or [np.empty(0, np.uint8)])
    chooses, metric = team.agreed((can_choose(val_labels), _metric(config, val_labels)))
    sizes = tuple(team.gather(len(train_rows)))
    model.to(batcher.device)
    optimizers = optimizers_of(model, config)
    plan = Schedule.of(config, sum(sizes))
    done, best_weights = Progress(), None
    if checkpoint and (saved := checkpoint.load(team)):
        done, best_weights = Progress(**saved["progress"]), saved["best_weights"]
        model.load_state_dict(saved["weights"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    by_hand = Step(model, batcher.inputs, batcher.device, optimizers, config.id_dropout, config.embedding_l2, amp, team)
    # A batch of sequences has shapes of its own, which can't be recorded.
    records = batcher.device.type == "cuda" and team.size == 1 and batcher.sequences is None
    step = RecordedStep(by_hand, plan.batch_size) if records else by_hand
    order = Order(plan, train_rows, seed, batcher.sequences, sizes if team.size > 1 else ())
    losses, seconds, rows_done = Losses(plan, config, done), 0.0, 0
    # The clock starts when columns and text vectors lie where batches are made.
    batcher.batch(train_rows[:1] if len(train_rows) else np.zeros(1, np.int64))
    ahead, first = plan.rows_before(done.step), plan.n_steps if done.stopped else done.step
    with progress(quiet=not team.leads) as bar, side_stream(batcher.device):
        task = bar.add_task("Training", total=plan.n_rows * plan.epochs, completed=ahead, note="")
        started = time.perf_counter()
        steps = range(first, plan.n_steps)
        own = (rows_B for step in steps if len(rows_B := order.rows(step)))
        with closing(fed(batcher, own)) as feed:
            for _ in steps:
                n_rows, n_own = order.n_rows(done.step), len(order.rows(done.step))
                batch = batcher.encoded(next(feed)) if n_own else None
                torch.manual_seed(seed * 1_000_003 + done.step + team.rank * 7_919_000_003)
                set_rates(optimizers, learning_rate_factor(done.step, plan.n_steps, plan.warmup))
                losses.add(step(batch, n_own / n_rows), n_rows)
                done.step += 1
                rows_done += n_rows
                bar.update(task, advance=n_rows)
                evaluates, saves = done.step in plan.evaluate_at, bool(checkpoint and team.leads and checkpoint.due())
                if evaluates or saves or losses.n_unread >= READ_EVERY[batcher.device.type]:
                    losses.read()
                if not (evaluates or saves):
                    continue
                seconds += time.perf_counter() - started
                if evaluates:
                    _note_train_loss(model, plan, config, done)
                    if chooses:
                        if _chosen(model, batcher, val_rows, val_labels, metric, config.patience, done, team):
                            best_weights = {k: v.clone() for k, v in model.state_dict().items()} if team.leads else {}
                        bar.update(task, note=_said(done.evaluations[-1], metric))
                if saves:
                    assert checkpoint is not None
                    checkpoint.save(
                        {
                            "progress": asdict(done),
                            "weights": model.state_dict(),
                            "best_weights": best_weights,
                            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                        }
                    )
                if done.stopped:
                    break
                started = time.perf_counter()
        bar.update(task, completed=plan.n_rows * plan.epochs)
    if best_weights is None:
        done.best_step, done.stopped = done.step, f"all epochs; {UNCHOSEN}"
    elif team.leads:
        model.load_state_dict(best_weights)
    model.cpu()
    stopped = done.stopped or "all epochs"
    return TrainingHistory(done.evaluations, done.best_step, stopped, rows_done / max(seconds, 1e-9))


def _note_train_loss(model: nn.Module, plan: Schedule, config: TrainingConfig, done: Progress) -> None:
    """Begin an evaluation with what train says. Raises: TrainerError where weights have exploded."""
    epoch, b = divmod(done.step - 1, plan.n_batches)
    done.evaluations.append(
        {"step": done.step, "epoch": epoch + (b + 1) / plan.n_batches, "train_loss": done.losses / done.seen}
    )
    done.losses, done.seen = 0.0, 0
    if not all(p.isfinite().all() for p in model.parameters()):
        raise exploded("Some weights are NaN or infinite", done.step, plan, config)


def _said(evaluation: dict[str, Any], metric: str) -> str:
    return f"epoch {evaluation['epoch']:.1f}  validation {metric} {evaluation[f'val_{metric}']:.4f}"


def _chosen(
    model: nn.Module,
    batcher: Batcher,
    val_rows: np.ndarray,
    val_labels: np.ndarray,
    metric: str,
    patience: int,
    done: Progress,
    team: Team,
) -> bool:
    """Evaluate on validation, note it in `done`, and say whether these weights are the best so far.

    val_labels: of all processes, for the first one, which measures.
    """
    found: dict[str, Any] = {}
    logits = team.to_leader(predict(model, batcher, val_rows))
    if team.leads:
        logits_B = np.concatenate(logits)
        found["val_auc"] = None if too_small(val_labels) else auc(val_labels, logits_B)
        found["val_log_loss"] = log_loss(val_labels, sigmoid(logits_B))
    found = team.agreed(found)
    done.evaluations[-1] |= found
    value = found["val_auc"] if metric == "auc" else -found["val_log_loss"]
    if value > done.best:
        done.best, done.worse, done.best_step = value, 0, done.step
        return True
    done.worse += 1
    if done.worse >= patience:
        done.stopped = f"validation {metric} did not improve in {done.worse} evaluations"
    return False


def _metric(config: TrainingConfig, val_labels: np.ndarray) -> str:
    """What validation chooses by: the stage's metric, and log loss where validation is too small to have an AUC."""
    return "log_loss" if too_small(val_labels) else config.metric


def sigmoid(logits_B: np.ndarray) -> np.ndarray:
    """In float64, without overflow."""
    z = np.asarray(logits_B, np.float64)
    return np.where(z >= 0, 1 / (1 + np.exp(-np.abs(z))), np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))))
