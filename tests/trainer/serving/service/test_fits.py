"""A run and a state that don't belong together."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.serving.service.conftest import Fitted
from trainer.base.errors import TrainerError
from trainer.serving.online.fits import check_fits
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.state import State
from trainer.serving.online.stores import open_store

OTHER_STATES = {
    "mart": ("training_examples_v3", "the run's mart is training_examples_v2, the state's training_examples_v3"),
    "dataset": ("other", "the run's dataset is my_log, the state's other"),
    "scenes": (("home", "cart"), "the run's scenes are home, search, cart, the state's home, cart"),
    "columns": ((), "column event_id is in the run's mart, not in the state's"),
    "variables": ({"few_max": 9}, "var few_max is 5 in the run's mart, 9 in the state's"),
    "checksums": ({"model.first_impression.feat_user.v2": "x"}, "the SQL of feat_user.v2 has changed between them"),
}


@pytest.mark.parametrize("what", OTHER_STATES)
def test_a_run_and_a_state_that_do_not_belong_together(fitted: Fitted, what: str) -> None:
    value, message = OTHER_STATES[what]
    there = getattr(fitted.settings, what)
    settings = replace(fitted.settings, **{what: there | value if isinstance(there, dict) else value})
    with pytest.raises(TrainerError, match=re.escape(message)) as caught:
        check_fits(fitted.run, fitted.settings.scenes, settings)
    assert "Fit it anew on that mart, or build a state for the run's mart" in str(caught.value)


def test_the_split_of_a_mart_makes_no_other_state(fitted: Fitted, tmp_path: Path) -> None:
    variables = fitted.settings.variables | {"val_from": "2020-01-01", "test_from": "2020-01-02"}
    store = open_store(f"sqlite:{tmp_path}/other.sqlite")
    State.create(store, replace(fitted.settings, variables=variables, checksums={}))
    Scorer(store, fitted.run)
    State.create(other := open_store(f"sqlite:{tmp_path}/x.sqlite"), replace(fitted.settings, dataset="other"))
    with pytest.raises(TrainerError, match="doesn't fit the state"):
        Scorer(other, fitted.run)
