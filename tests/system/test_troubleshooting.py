"""docs/troubleshooting.md and docs/how-the-numbers-are-proven.md: every message is provoked, every test is there."""

import ast
import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from embeddings import Recipe, Template, VectorStore
from tests.system.pages import run_in_process, simple_commands
from tests.trainer.toy_log import make_log, write_log
from tests.trainer.toy_texts import write_vectors
from tests.trainer.toys import Mart, make_rich, make_toy
from tests.warehouse.project import ROOT
from tests.warehouse.test_mutants import MUTANTS
from warehouse.fetch import app as fetch

PAGE = ROOT / "docs/troubleshooting.md"
MESSAGES = {
    section.splitlines()[0]: re.findall(r"^### `(.+)`$", section, re.MULTILINE)
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]
}
PROVOKED = [message for section in ("Raw logs", "trainer", "embeddings") for message in MESSAGES[section]]


def pattern(message: str) -> str:
    """A message of the page as a regular expression: `…` is anything."""
    return ".+?".join(re.escape(part) for part in message.split("…"))


def edited_stage(old: str, new: str) -> str:
    text = (ROOT / "trainer/stages/01_dnn.yaml").read_text().replace("resamples: 200", "resamples: 10")
    assert old in text
    Path("edited.yaml").write_text(text.replace(old, new, 1))
    return "edited.yaml"


def changed(mart: Mart, name: str, values: list) -> Path:
    return mart.set(name, values).write(Path("marts-changed"))


def texts_mart(folder: Path, n: int) -> None:
    (folder / "texts").mkdir(parents=True)
    ids = [f"t{k}" for k in range(n)]
    counts = {name: pa.array([3] * n, pa.int64()) for name in ("n_rows", "n_cold_rows", "n_train_rows")}
    pq.write_table(pa.table({"text_id": ids, "text": ids, "side": ["title"] * n} | counts), folder / "texts/p.parquet")
    (folder / "texts/_SUCCESS").touch()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Everything that is printed while one thing after another goes wrong."""
    folder = tmp_path_factory.mktemp("trouble")
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIRST_IMPRESSION_CACHE", str(folder / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield " ".join("\n".join(provoke()).split())


def provoke() -> Iterator[str]:
    def wrong(line: str) -> str:
        found, output = run_in_process(simple_commands(line)[0])
        assert found != 0, f"{line}: nothing went wrong"
        return output.replace("\\'", "'")

    def fine(line: str) -> str:
        code, output = run_in_process(simple_commands(line)[0])
        assert code == 0, output
        return output

    fit = "trainer fit --run {} --marts marts --stage"
    # Raw logs
    yield CliRunner().invoke(fetch, ["antm2c"]).output
    fine("warehouse simulate --events 1000 --out sim")
    yield wrong("warehouse simulate --events 1000 --seed 8 --out sim")
    yield wrong("warehouse simulate bayes --out nowhere")
    fine("warehouse simulate --events 1000 --part 1 --out parts")
    yield wrong("warehouse simulate --events 1000 --seed 8 --part 2 --out parts")
    yield wrong("warehouse simulate bayes --out parts")
    # Runs and stages
    yield wrong(fit.format("r") + " 01_dnn")
    mart = make_rich(600)
    mart.write(Path("marts"))
    quick = edited_stage("epochs: 2", "epochs: 1")
    Path("quick.yaml").write_text(Path(quick).read_text().replace("min_steps: 300", "min_steps: 5"))
    fine(fit.format("r") + " quick.yaml")
    yield wrong(fit.format("r") + " quick.yaml")
    Path("junk").mkdir()
    Path("junk/x").touch()
    yield wrong(fit.format("junk") + " quick.yaml")
    yield wrong(fit.format("s") + " " + edited_stage("  dropout:", "  drop_out:"))
    yield wrong(fit.format("s") + " " + edited_stage("seed: 1\n", ""))
    yield wrong(fit.format("s") + " " + edited_stage("learning_rate: 0.001", "learning_rate: 1e30"))
    # Texts
    yield wrong(fit.format("s") + " 04_semantic")
    write_vectors(Path("poor"), leave_out=tuple(f"t{k}" for k in range(20)))
    yield wrong(fit.format("s") + " 04_semantic --vectors poor")
    write_vectors(Path("short"))
    yield wrong(fit.format("s") + " 04_semantic --vectors short")
    write_vectors(Path("of-another-log"), "cooccurrence")
    yield wrong(fit.format("s") + " 12_entity_match --vectors of-another-log")
    with mock.patch.dict(os.environ), mock.patch.object(Path, "home", side_effect=RuntimeError):
        del os.environ["FIRST_IMPRESSION_CACHE"]
        yield wrong("trainer fit --run s --marts marts --stage quick.yaml")
    # Marts
    toy = make_toy(400)
    interest = (ROOT / "trainer/stages/09_interest.yaml").read_text()
    Path("history.yaml").write_text(re.sub(r"  texts:\n(    .+\n)+", "", interest))
    yield wrong(f"trainer fit --run s --marts {toy.write(Path('marts-toy'))} --stage history.yaml")
    sequence = (ROOT / "trainer/stages/11_sequence.yaml").read_text()
    Path("sequence.yaml").write_text(
        sequence.replace("epochs: 12", "epochs: 1").replace("min_steps: 300", "min_steps: 5")
    )
    unknown = make_toy(400)
    unknown.columns = [column for column in unknown.columns if column["name"] != "known_at"]
    yield wrong(f"trainer fit --run s --marts {unknown.write(Path('marts-unknown'))} --stage sequence.yaml")
    fine("trainer fit --run seq --marts marts-toy --stage sequence.yaml")
    yield wrong("trainer score --run seq --input marts-toy/training_examples_v1 --output o.parquet")
    manifest = toy.manifest(Path("manifest.json"))
    manifest.write_text(manifest.read_text().replace('"aaaa"', '"bbbb2"'))
    yield wrong(f"trainer fit --run s --marts marts-toy --stage quick.yaml --manifest {manifest}")
    for path in Path("marts-toy").rglob("*.parquet"):
        pq.write_table(pq.read_table(path, partitioning=None).drop(["item_rate"]), path)
    yield wrong("trainer fit --run s --marts marts-toy --stage quick.yaml")
    next(Path("marts-toy").rglob("build.json")).unlink()
    yield wrong("trainer fit --run s --marts marts-toy --stage quick.yaml")
    twice = make_toy(400)
    ids = twice.rows["event_id"]
    changed(twice, "event_id", [ids[0], ids[0], *ids[2:]])
    yield wrong("trainer fit --run s --marts marts-changed --stage quick.yaml")
    late = make_toy(400)
    changed(late, "split", ["val" if s == "train" else s for s in late.rows["split"]])
    yield wrong("trainer fit --run s --marts marts-changed --stage quick.yaml")
    odd = make_toy(400)
    odd.rows["item_rate"][0] = float("inf")
    changed(odd, "label", [k % 2 if s == "train" else 0 for k, s in enumerate(odd.rows["split"])])
    yield fine("trainer fit --run odd --marts marts-changed --stage quick.yaml")
    yield wrong("trainer ladder --marts marts-changed --stages quick.yaml")
    # Finished runs
    rows = pq.read_table("marts/training_examples_v1")
    at = rows.column_names.index("scene")
    pq.write_table(rows.set_column(at, "scene", pa.array(["cart"] * len(rows))), "cart.parquet")
    pq.write_table(rows.drop(["item_rate"]), "short.parquet")
    yield wrong("trainer score --run r --input cart.parquet --output o.parquet")
    yield wrong("trainer score --run r --input short.parquet --output o.parquet")
    Path("days/scene=home").mkdir(parents=True)
    pq.write_table(rows.drop(["scene"]), "days/scene=home/part.parquet")
    yield wrong("trainer score --run r --input days --output o.parquet")
    make_toy(400, seed=3).write(Path("marts-other"))
    fine("trainer fit --run g --marts marts-other --stage 00_gbdt")
    yield wrong("trainer export --run g --output g.onnx")
    yield wrong("trainer compare r g")
    Path("r/DONE").write_text("")  # as older trainers left it, without hashes
    metrics = Path("r/metrics.json")
    metrics.write_text(metrics.read_text().replace('"seed": 1', '"seed": 2'))
    yield wrong("trainer evaluate --run r")
    weights = Path("g/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-50])
    yield wrong("trainer evaluate --run g")
    # Embeddings
    texts_mart(Path("some"), 60)
    yield wrong("embeddings build --marts some")
    yield wrong("embeddings build --marts some --encoder BAAI/bge-small-zh-v1.5 --pooling cls")
    Path("routed").mkdir()
    router = {"name": "0", "path": "", "type": "sentence_transformers.models.Router"}
    Path("routed/modules.json").write_text(json.dumps([router]))
    yield wrong("embeddings build --marts some --encoder routed")
    write_log(make_log(400), Path("few"))
    yield wrong("embeddings build --marts few --encoder cooccurrence --dim 5000")
    yield wrong("embeddings build --marts nowhere")
    with VectorStore.writer(
        Path("data/vectors"), Recipe("e5-small", "r", "mean", Template(), True, 64, "fp32"), 20
    ) as s:
        s.append([f"t{k}" for k in range(60)], np.add.outer(np.arange(60), np.ones(20)).astype(np.float32))
        yield wrong("embeddings gc --marts some")
    yield wrong("embeddings gc --marts nowhere")
    yield wrong("embeddings whiten --marts some --dim 8")
    shard = next(Path("data/vectors").glob("*/shards/*"))
    shard.write_bytes(shard.read_bytes()[:-9])
    yield wrong("embeddings whiten --marts some --dim 8")


@pytest.mark.parametrize("message", PROVOKED)
def test_every_message_is_one_that_the_programs_say(message: str, said: str) -> None:
    assert re.search(pattern(message), said), f"nothing says: {message}"


def test_a_message_that_nothing_says_is_found(said: str) -> None:
    assert len(PROVOKED) > 30
    assert not re.search(pattern("The mart was built by … elves"), said)


@pytest.mark.parametrize("message", MESSAGES["dbt build"])
def test_every_message_of_dbt_is_in_the_sources(message: str) -> None:
    """The builds that provoke them are in tests/warehouse; here their fixed parts must be in a macro or a reader."""
    paths = [*(ROOT / "warehouse/macros").glob("*.sql"), *(ROOT / "warehouse/reading").glob("*.py")]
    sources = "".join(path.read_text(encoding="utf-8") for path in paths).replace("{encoding}", "UTF-16")
    parts = [part.strip(" '()") for part in message.split("…")]
    assert any(len(part) > 10 for part in parts)
    for part in parts:
        assert part in sources, f"neither a macro nor a reader has: {part}"


def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_proof_names_a_test_that_is_there() -> None:
    page = (ROOT / "docs/how-the-numbers-are-proven.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 20
    for path, name in named:
        assert (ROOT / path).is_file(), path
        assert not name or name in functions_of(ROOT / path), f"{path} has no {name}"


def test_every_mutant_that_the_page_names_is_one() -> None:
    page = (ROOT / "docs/how-the-numbers-are-proven.md").read_text(encoding="utf-8")
    named = [
        name
        for line in page.splitlines()
        if "mutants" in line
        for name in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", line)
    ]
    assert len(named) >= 8
    assert set(named) <= {name for mutants in MUTANTS.values() for name in mutants}
