"""Two at once: one waits or says who holds the lock; a reader meets the old mart or the new one, never a mixture."""

import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.atomic import exchange
from tests.chaos.conftest import MODELS
from tests.chaos.harness import SEED, Scene, contents
from tests.forkserver import ForkServer, of
from tests.trainer.toys import make_toy
from trainer.columns.build import open_mart
from warehouse.folders import publish_folder

Said = tuple[dict, dict]


def at_once(scene: Scene, server: ForkServer, seconds: float) -> Said:
    """The command, and the same one started so much later in the same folder; how each ended."""
    scene.reset()
    later = replace(scene, server=server)
    scene.start()
    threading.Event().wait(seconds)
    later.start()
    return scene.answer(), later.answer()


def undisturbed(scene: Scene, server: ForkServer) -> tuple[object, set[str], float]:
    """What the command comes to alone, what lies there then, and its seconds; both parents are warm afterwards."""
    for parent in (server, scene.server, scene.server):
        scene.reset()
        ended = replace(scene, server=parent).run()
        assert ended["code"] == 0, ended["said"]
    return scene.result(scene.work), scene.listing(), ended["seconds"]


@pytest.mark.parametrize("command", ["fetch", "simulate", "embeddings", "dbt"])
def test_two_writers(command: str, request: pytest.FixtureRequest, survived: Callable[[str], None]) -> None:
    scene = request.getfixturevalue(f"{command}_scene")
    if command == "dbt":
        scene = scene("dbt build", *MODELS, built=True)
    expected, there, seconds = undisturbed(scene, of(command, 2))
    says = {"fetch": "\0", "simulate": "can't write to", "embeddings": ": process ", "dbt": "(PID "}[command]
    n_gave_way = 0
    for share in (0, 0.2, 0.5):
        both = at_once(scene, of(command, 2), share * seconds)
        for one, other in (both, both[::-1]):
            assert one["code"] == 0 or says in one["said"], (share, one["said"][-3000:])
            if says in one["said"]:
                n_gave_way += 1
                assert other["code"] == 0, (share, other["said"][-3000:])
                if command in ("embeddings", "dbt"):
                    assert str(other["pid"]) in one["said"], "it names the process that holds the lock"
        assert scene.result(scene.work) == expected
        assert scene.listing() - there == set()
    survived(f"two at once: {scene.name:17} 3 pairs, one gave way in {n_gave_way}, results equal")


def test_two_fits_of_one_mart_share_a_cache(fit_scene: Callable[..., Scene], survived: Callable[[str], None]) -> None:
    first = fit_scene("trainer fit")
    second = replace(first, server=of("trainer", 2), argv=[*first.argv[:-1], "runs/y"])
    first.reset()
    assert first.run()["code"] == 0
    expected = first.result(first.work)
    for _ in range(3):
        first.reset()
        first.start()
        second.start()
        for ended in (first.answer(), second.answer()):
            assert ended["code"] == 0, ended["said"]
        shutil.rmtree(first.work / "runs" / "x")
        (first.work / "runs" / "y").rename(first.work / "runs" / "x")
        assert first.result(first.work) == expected
        assert not list(first.work.rglob("*.partial*"))
    survived("two at once: trainer fit       3 pairs into an empty cache, results equal")


# ---- readers and a publisher


@pytest.fixture
def two_builds(tmp_path: Path) -> list[Path]:
    """Two builds of one mart: the same rows and files, other values in them."""
    made = []
    for number in (0, 1):
        mart = make_toy(600)
        mart.record = {"invocation_id": f"build-{number}"}
        if number:
            mart.set("item_rate", [None if rate is None else rate + 1 for rate in mart.rows["item_rate"]])
        made.append(mart.write(tmp_path / f"build-{number}") / "training_examples_v1")
    return made


@contextmanager
def publishing(builds: list[Path], place: Path, pause: float) -> Iterator[list[int]]:
    """Publish the builds in turn at `place`, until the block ends, as the materialization `mart` does; counts them.

    pause: at most so many seconds between two. A reader that never finds the time for one build would go on for ever.
    """
    draw, count, over = random.Random(SEED), [0], threading.Event()

    def publish(number: int) -> None:
        aside = place.with_name(f".{place.name}.partial")
        shutil.copytree(builds[number % 2], aside)
        record = aside / "_build" / "build.json"  # a dbt build has an invocation id of its own
        record.write_text(
            json.dumps(json.loads(record.read_text()) | {"invocation_id": f"build-{number % 2} {number}"})
        )
        publish_folder(str(aside), str(place))
        count[0] += 1

    def go_on() -> None:
        while not over.wait(draw.uniform(0, pause)):
            publish(count[0])

    publish(0)
    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield count
    finally:
        over.set()
        thread.join()


def test_a_mart_is_never_gone_while_it_is_replaced(two_builds: list[Path], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system can't let two folders change places: there is a moment between two renames")
    place = tmp_path / "marts" / "training_examples_v1"
    looks = gone = 0
    with publishing(two_builds, place, 0) as count:
        while count[0] < 200:
            looks += 1
            gone += not (place / "_build" / "build.json").exists()
    assert (gone, looks > 1000) == (0, True)


def test_a_reader_meets_one_build(
    two_builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: Callable[[str], None]
) -> None:
    place = tmp_path / "marts" / "training_examples_v1"
    known, met = {}, set()
    for number, build in enumerate(two_builds):
        monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / f"cache-{number}"))
        started = time.monotonic()
        known[open_mart(build.parent)[1].content_hash] = f"build-{number}"
        seconds = time.monotonic() - started
    assert len(known) == 2
    with publishing(two_builds, place, 6 * seconds) as count:
        for number in range(40):
            monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / f"cache-of-reader-{number}"))
            contract, columns = open_mart(place.parent)
            assert known[columns.content_hash] == contract.lineage["invocation_id"].split()[0]
            met.add(columns.content_hash)
    assert met == set(known)
    survived(f"readers of a mart:             40 reads, {count[0]} publications, no mixture")


def test_fit_and_score_during_a_refresh(
    score_scene: Scene, two_builds: list[Path], survived: Callable[[str], None]
) -> None:
    """A fit continues with the build that it read completely; a score whose build was replaced reports it."""
    fit = replace(score_scene, argv=["trainer", "fit", "--stage", "one.yaml", "--marts", "m", "--run", "runs/fit"])
    score = replace(
        score_scene,
        argv=["trainer", "score", "--run", "runs/x", "--input", "m/training_examples_v1", "--output", "out.parquet"],
    )
    place = score_scene.work / "m" / "training_examples_v1"
    outcomes: dict[str, list[object]] = {"fit": [], "score": []}

    def run() -> dict[str, dict]:
        return {"fit": fit.run(), "score": score.run()}

    def found() -> dict[str, object]:
        weights = contents(score_scene.work / "runs" / "fit", "weights.safetensors", "predictions.parquet")
        return {"fit": weights, "score": pq.read_table(score_scene.work / "out.parquet")["probability"].to_pylist()}

    for build in two_builds:
        score_scene.reset()
        shutil.copytree(build, place)
        ended = run()
        assert all(one["code"] == 0 for one in ended.values()), ended
        seconds = min(one["seconds"] for one in ended.values())
        for name, value in found().items():
            outcomes[name].append(value)
    assert outcomes["fit"][0] != outcomes["fit"][1] and outcomes["score"][0] != outcomes["score"][1]
    refused = publications = 0
    for _ in range(6):
        score_scene.reset()
        place.parent.mkdir()
        with publishing(two_builds, place, seconds) as count:
            ended = run()
        publications += count[0]
        assert ended["fit"]["code"] == 0, ended["fit"]["said"]
        now = contents(score_scene.work / "runs" / "fit", "weights.safetensors", "predictions.parquet")
        assert now in outcomes["fit"]
        if ended["score"]["code"]:
            assert "anew while it was read. Run the command again" in ended["score"]["said"], ended["score"]["said"]
            assert not list(score_scene.work.glob("out.parquet*"))
            refused += 1
        else:
            assert found()["score"] in outcomes["score"]
    survived(
        f"fit and score in a refresh:    6 of each, {publications} publications, {refused} scores refused, no mixture"
    )


def test_a_reader_beside_dbt_build(
    dbt_scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, survived: Callable[[str], None]
) -> None:
    """The real publisher: rows before and after a delivery, read again and again while dbt takes it in."""
    scene = dbt_scene("dbt build", *MODELS, built=True)
    scene.reset()
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(scene.work)
    marts = scene.work / "data" / "marts" / "my_log"
    hashes = [open_mart(marts, "training_examples_v1")[1].content_hash]
    scene.start()
    ended: list[dict] = []
    waiting = threading.Thread(target=lambda: ended.append(scene.answer()))
    waiting.start()
    reads = 0
    while waiting.is_alive():
        found = open_mart(marts, "training_examples_v1")[1].content_hash
        reads += 1
        if found != hashes[-1]:
            hashes.append(found)
    waiting.join()
    assert ended[0]["code"] == 0, ended[0]["said"]
    assert hashes[-1:] == [open_mart(marts, "training_examples_v1")[1].content_hash] and len(hashes) == 2
    survived(f"a reader beside dbt build:     {reads} reads, the old mart and then the new one")
