"""What docs/reference.md says that no program knows: its head, exit codes, and words on files and on keys of yml."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trainer.contract import schema
from trainer.metrics import metrics

HEAD = """\
# Reference

Made by `python -m docs.make_reference` from the programs themselves; a test fails when it is stale. Don't edit it.

[Commands](#commands) · [Exit codes](#exit-codes) · [Stage keys](#stage-keys) · [Metrics](#metrics) ·
[Column meta](#column-meta) · [Vars](#vars)

Every command has `--help` with an example, and `--json` for programs: standard output then holds JSON alone.
Progress shows on a terminal only. `--install-completion` of `trainer` and `embeddings` teaches your shell their flags.

The columns of every mart, with their descriptions and lineage, are in the static site that `make docs` writes.
"""

EXIT_CODES = """\
## Exit codes

The same for all commands here:

| code | means |
|---|---|
| 0 | all is well |
| 1 | what the command checks doesn't hold; its output says what |
| 2 | bad input, from a wrong flag to a mart that can't be read, or a full disk; the message says what to do |
| 130 | stopped with Ctrl-C |

Code 1 comes from `trainer evaluate` (other metrics than in `metrics.json`), `trainer ladder` (a rung above the Bayes
AUC), `trainer replay` (a value differs from the mart's), `trainer fit` with `--track` (a tracker failed; the run is
whole) and `embeddings check` (damaged shards).

`dbt` has its own: 0, 1 (a model or a test failed), 2 (dbt couldn't start: a wrong flag, a project that doesn't parse).
"""

# Metrics that are a number of their own in metrics.json, rather than a function of trainer/metrics/metrics.py.
COUNTS = {
    "n": "Rows.",
    "positives": "Rows with label 1.",
    "users": "Different users among the rows.",
    "positive_rate": "Positives over rows.",
    "mean_probability": "Mean of the predicted probabilities; near the positive rate where the level is right.",
    "auc_low": "Lower end of the AUC's 95% interval, by a bootstrap that draws users.",
    "auc_high": "Upper end of the same interval.",
    "gauc_coverage": "Share of the rows whose user counts in `gauc`.",
    "undefined": "For each metric that is null, the reason.",
    "scenes": "The same metrics of each scene.",
    "macro_auc": "Plain mean of the AUC over the scenes that have one; null where none has.",
    "macro_auc_scenes": "How many scenes that are.",
    "uncalibrated": "With calibration: `ece` and `log_loss` of the probabilities before it.",
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "auc": metrics.auc,
    "gauc": metrics.gauc,
    "pr_auc": metrics.pr_auc,
    "log_loss": metrics.log_loss,
    "ne": metrics.normalized_entropy,
    "ece": metrics.ece,
}
CELLS = {
    "split": "val or test.",
    "user_level": "zero, few, warm, or all.",
    "item_level": "zero, few, warm, or all.",
    "scene": "A scene, or all.",
    "too_small": "Fewer positives or negatives than `evaluation.min_class`: no AUC is shown.",
    "alpha": "Mean share of the logit that comes from content, for stages with a gate.",
}
DRIFT = {
    "name": "The number, as the trainer names it: a column, or column.position of a list.",
    "psi": "Population stability index from train to test, in tenths of train with NULL as one bin more.",
    "psi_in_train": "The same from the first four fifths of train to its last: what is usual.",
    "train_median": "Median in train, as in the mart.",
    "test_median": "Median in test.",
    "train_null": "Share of NULL in train.",
    "test_null": "Share of NULL in test.",
    "train_rows": "Rows of train that were looked at.",
    "test_rows": "Rows of test that were looked at.",
}
IMPORTANCE = {
    "what": "feature or group.",
    "name": "The input, or the group of inputs.",
    "group": "The groups that the input is in.",
    "drop": "Mean drop in validation AUC when the values are shuffled among rows.",
    "sd": "Standard deviation of the drop over repeats.",
    "repeats": "Permutations.",
    "rows": "Validation rows.",
    "auc": "Validation AUC with nothing shuffled.",
}
# Keys of a column's `config: meta:` in yml, and the values each may have.
META: dict[str, tuple[Iterable[str], str]] = {
    "role": (
        schema.ROLES,
        "What the column is to the trainer. Of these `feature`, `text_id`, `history` and `key` with a kind become "
        "inputs. Columns of other models also have `measure`, `text`, `side`.",
    ),
    "kind": (schema.KINDS, "A number, a category, or a list of a fixed length. A key with a kind is an id to embed."),
    "transform": (schema.TRANSFORMS, "What happens to a number before it is standardised; by default none."),
    "group": (schema.GROUPS, "Whose measure it is: for reports, importance and the gates that know user and item."),
    "names": (schema.NAME_LISTS, "Of a list: the var that names its positions, in order."),
    "of": (schema.HISTORY_OF, "Of a list with role history: what it holds of the user's latest outcomes."),
    "cold_only": (("true",), "Of a text_id: only cold rows have it, so it is a text for the fallback alone."),
}
