"""The smallest effect that a log can show, before any rung is fitted and without a test label.

Who saw what on test is known beforehand; how two rungs differ isn't. So rungs are made up: the floor's log odds, plus
effects of users, of items and of rows, a third of the variance each, once for each of two rungs, as strong as gives
their log odds a correlation that is asked for. Labels are drawn from the floor's probabilities. The standard error of
the difference of the two AUCs, by users and items as the ladder's, times (q + z) is the difference that is shown 80
times in 100: q for a family of as many independent comparisons as the ladder declares, z = .84.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

from trainer.base.errors import TrainerError
from trainer.columns.store import Columns, evenly_spaced
from trainer.contract.schema import Contract
from trainer.inputs.batcher import Batcher
from trainer.inputs.features import fit_inputs
from trainer.metrics.metrics import auc_influence, dense_ids, too_small
from trainer.metrics.simultaneous import LEVEL, POWER, Clusters
from trainer.models import config_of

CORRELATIONS = (0.9, 0.97, 0.99, 0.997)  # of log odds: unlike models ... the same one with another seed
RATES, CLIP = "click_rate_cum", 8.0
_TRAIN_ROWS = 200_000  # five weights need no more
_SEED = 0


def smallest_effect(contract: Contract, columns: Columns, comparisons: int) -> dict[str, Any]:
    """For each correlation of two rungs' log odds the smallest effect; `said` is what a reader is told."""
    try:
        inputs = config_of("floor").model_validate({"kind": "floor", "rates": RATES}).chosen(contract.inputs)
    except TrainerError as error:
        return {"said": f"The smallest effect that this log can show isn't known beforehand: {error}"}
    train = evenly_spaced(columns.rows("train"), _TRAIN_ROWS)
    batcher = Batcher(fit_inputs(columns, inputs, train, min_count=1, clip=CLIP), columns)
    floor = LogisticRegression(C=1e6).fit(batcher.batch(train).dense_BX.numpy(), columns.label_N[train])
    test = columns.rows("test")
    odds_B = floor.decision_function(batcher.batch(test).dense_BX.numpy()).astype(np.float64)
    user_B, users = dense_ids(columns.codes_of("user")[test])
    item_B, items = dense_ids(columns.codes_of("item")[test])
    errors = {rho: standard_error(odds_B, user_B, users, item_B, items, rho) for rho in CORRELATIONS}
    z = float(stats.norm.isf((1 - LEVEL ** (1 / max(1, comparisons))) / 2)) + float(stats.norm.ppf(POWER))
    by_correlation = {f"{rho:g}": None if math.isnan(e) else z * e for rho, e in errors.items()}
    known = [f"{effect:.4f} at {rho}" for rho, effect in by_correlation.items() if effect is not None]
    return {
        "comparisons": comparisons,
        "users": users,
        "items": items,
        "rows": len(test),
        "by_correlation": by_correlation,
        "said": f"Before any rung was fitted: the smallest difference in AUC that {len(test):,} test rows of {users:,} "
        f"users and {items:,} items show with 80% power, as one of {comparisons} comparisons, by the correlation of "
        f"two rungs' log odds: {', '.join(known) or 'too few to say'}. Noise of seeds comes on top.",
    }


def standard_error(
    odds_B: np.ndarray, user_B: np.ndarray, users: int, item_B: np.ndarray, items: int, rho: float
) -> float:
    """Of the difference in AUC of two made-up rungs, whose log odds correlate by rho, on labels drawn from odds_B."""
    generator = np.random.default_rng([_SEED, round(rho * 1e6)])
    label_B = (generator.random(len(odds_B)) < 1 / (1 + np.exp(-odds_B))).astype(np.uint8)
    if too_small(label_B):
        return math.nan
    strength = float(np.std(odds_B)) * math.sqrt((1 / rho - 1) / 3)
    apart_B = np.zeros(len(odds_B))
    for sign in (1, -1):
        effects_B = generator.normal(size=users)[user_B] + generator.normal(size=items)[item_B]
        changed_B = odds_B + strength * (effects_B + generator.normal(size=len(odds_B)))
        apart_B += sign * auc_influence(label_B, changed_B)
    return math.sqrt(Clusters(user_B, users, item_B, items).variance(apart_B))
