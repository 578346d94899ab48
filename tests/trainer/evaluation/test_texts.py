from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embeddings import find_store
from trainer.columns.build import open_columns
from trainer.config import TextsConfig
from trainer.contract.read import read_contract
from trainer.evaluation.texts import text_facts
from trainer.inputs.features import FittedInputs, fit_inputs
from trainer.training.fit import _with_texts_and_history
from trainer.training.fitted import Fitted

TEXTS = TextsConfig(encoder="e5-small", dimensions=8, min_text_coverage=0.5)


@pytest.fixture
def described(texts: Any, stage: Any, vectors: Any, tmp_path: Path) -> Any:
    """`described(mart, **wanted)`: the facts of a stage with these inputs, without training it; and its inputs."""
    root = vectors(vectors(tmp_path / "vectors", leave_out=("g1", "t7")), "smollm2", leave_out=("a1", "a100"))

    def describe(
        mart: Any, *, words: bool = True, placebo: str | None = None, **wanted: Any
    ) -> tuple[dict[str, Any] | None, FittedInputs]:
        marts = mart.write(Path(tempfile.mkdtemp(dir=tmp_path)))
        if words:
            texts(marts)
        contract = read_contract(marts)
        columns = open_columns(contract)
        one = stage("01_dnn")
        one = one.model_copy(update={"inputs": one.inputs.model_copy(update=wanted), "placebo": placebo})
        inputs = fit_inputs(columns, contract.inputs, columns.rows("train"), min_count=1, clip=8.0)
        inputs = _with_texts_and_history(inputs, one, contract, columns, root)
        return text_facts(Fitted(one, inputs, None, root), contract, columns), inputs

    return describe


def distinct(mart: Any, name: str, keep: np.ndarray) -> set[str]:
    values = [v for v, k in zip(mart.rows[name], keep, strict=True) if k]
    return {one for v in values for one in (v if isinstance(v, list) else [v]) if one is not None}


def test_coverage_by_column_and_split(rich: Any, described: Any) -> None:
    mart = rich(800)
    mart.rows["title_text_id"] = [
        "t39" if test else "t5" if title == "t39" else title
        for title, test in zip(mart.rows["title_text_id"], mart.split("test") & (np.arange(800) % 3 == 0), strict=True)
    ]
    llm = TEXTS.model_copy(update={"encoder": "smollm2"})
    found, _ = described(mart, texts=TEXTS, llm=llm)
    assert [(row["encoder"], row["column"]) for row in found["coverage"]] == [
        (encoder, name) for encoder in ("e5-small", "smollm2") for name in ("title_text_id", "tags", "about_user")
    ]
    levels = zip(mart.rows["user_level"], mart.rows["item_level"], strict=True)
    cold = np.array([{u, i} & {"zero", "few"} != set() for u, i in levels])
    without = {"e5-small": {"g1", "t7"}, "smollm2": {"a1", "a100"}}
    for row in found["coverage"]:
        own = cold if row["cold_only"] else np.ones(800, bool)
        train = distinct(mart, row["column"], own & mart.split("train"))
        for split, counts in row["splits"].items():
            there = distinct(mart, row["column"], own & mart.split(split))
            of_rows = [
                {v for v in (value if isinstance(value, list) else [value]) if v} - without[row["encoder"]]
                for value, take in zip(mart.rows[row["column"]], own & mart.split(split), strict=True)
                if take
            ]
            assert counts == {
                "texts": len(there),
                "with_vector": len(there - without[row["encoder"]]),
                "new": len(there - train),
                "rows": len(of_rows),
                "rows_with_vector": sum(map(bool, of_rows)),
            }
    assert found["coverage"][0]["splits"]["test"]["new"] == 1, "t39 is in test alone"
    assert found["coverage"][0]["group"] == "item"


def test_neighbours_are_the_nearest_of_frequent_titles(rich: Any, described: Any, tmp_path: Path) -> None:
    mart = rich(800)
    mart.rows["title_text_id"][:500] = ["t11"] * 300 + ["t3"] * 200  # t3 has an empty text
    found, inputs = described(mart, texts=TEXTS)
    near = found["neighbours"]
    assert (near["encoder"], near["column"], near["among"]) == ("e5-small", "title_text_id", 39), "t7 has no vector"
    assert [t["text"] for t in near["titles"][:2]] == ["Title <11>", ""]
    assert len(near["titles"]) == 6
    assert all(
        len(t["near"]) == 3 and all(a["cosine"] >= b["cosine"] for a, b in pairwise(t["near"])) for t in near["titles"]
    )
    ids = [f"t{k}" for k in range(40) if k != 7]
    vectors_ND, _ = find_store(tmp_path / "vectors", "e5-small").load(ids)
    white = inputs.texts.whitening.transform(vectors_ND)
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    cosine = white @ white[ids.index("t11")]
    best = [ids[k] for k in np.argsort(-cosine)[1:4]]
    assert [n["text"] for n in near["titles"][0]["near"]] == ["" if i == "t3" else f"Title <{i[1:]}>" for i in best]


def test_what_the_fallback_encoded(rich: Any, described: Any) -> None:
    mart = rich(800)
    found, _ = described(mart, llm=TEXTS.model_copy(update={"encoder": "smollm2"}))
    sides = found["fallback"]["sides"]
    length = {f"a{k}": len(f"a secret of user {k}") for k in range(120)}
    assert sides["user"] == {
        "texts": 120,
        "cold": 80,
        "encoded": 118,
        "bytes": sum(length.values()),
        "bytes_encoded": sum(length.values()) - length["a1"] - length["a100"],
    }
    assert sides["title"]["texts"] == 39, "the empty one is nobody's cost"
    cold = np.array([u != "warm" for u in mart.rows["user_level"]])
    assert found["fallback"]["cold_rows"]["test"] == pytest.approx(cold[mart.split("test")].mean())
    assert found["neighbours"]["encoder"] == "smollm2"


def test_what_there_is_nothing_to_say_of(rich: Any, described: Any) -> None:
    assert described(rich(500))[0] is None
    silent, _ = described(rich(500), texts=TEXTS, llm=TEXTS, words=False)
    assert silent["coverage"] and silent["neighbours"] is None and silent["fallback"] is None
    shuffled, _ = described(rich(500), texts=TEXTS, placebo="texts")
    assert shuffled["neighbours"] is None, "its model saw other vectors"


def test_another_kind_of_texts_mart_stops_no_fit(rich: Any, described: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.evaluation.texts._READ", ("text_id", "text", "side", "n_cold_rows", "n_unheard_of"))
    found, _ = described(rich(500), texts=TEXTS, llm=TEXTS)
    assert found["coverage"] and found["neighbours"] is None and found["fallback"] is None
