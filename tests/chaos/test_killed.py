"""kill -9 at any moment, then the same command again: the result is that of a run that nobody killed."""

from collections.abc import Callable

import pytest

from tests.chaos.conftest import MODELS
from tests.chaos.harness import KILLS, Scene, torment

Survived = Callable[[str], None]


def test_fetch(fetch_scene: Scene, survived: Survived) -> None:
    torment(fetch_scene, survived)


def test_simulate(simulate_scene: Scene, survived: Survived) -> None:
    torment(simulate_scene, survived)


def test_simulate_over_another(simulate_force_scene: Scene, survived: Survived) -> None:
    torment(simulate_force_scene, survived)


@pytest.mark.parametrize("arguments", [(), ("--resume",), ("--force",)], ids=" ".join)
def test_trainer_fit(fit_scene: Callable[..., Scene], arguments: tuple[str, ...], survived: Survived) -> None:
    torment(
        fit_scene(" ".join(["trainer fit", *arguments]), *arguments), survived, KILLS if not arguments else KILLS // 2
    )


def test_trainer_score(score_scene: Scene, survived: Survived) -> None:
    torment(score_scene, survived)


def test_dbt_build_from_nothing(dbt_scene: Callable[..., Scene], survived: Survived) -> None:
    torment(dbt_scene("dbt build", *MODELS, built=False), survived, KILLS // 2)


def test_dbt_build_of_a_day(dbt_scene: Callable[..., Scene], survived: Survived) -> None:
    torment(dbt_scene("dbt build, a new file", *MODELS, built=True), survived, KILLS // 2)


def test_dbt_build_of_everything(dbt_scene: Callable[..., Scene], survived: Survived) -> None:
    """Every model and data test, a few kills: one build takes as long as ten of the others."""
    torment(dbt_scene("dbt build, all of it", "build", built=True), survived, KILLS // 10)


def test_embeddings_build(embeddings_scene: Scene, survived: Survived) -> None:
    torment(embeddings_scene, survived)
