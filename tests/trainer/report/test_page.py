from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.trainer.report.markup import Balanced, drawing, hashed, without_scripts
from tests.trainer.serving.online.logs import Log
from tests.trainer.toys import numbered
from trainer.base.errors import TrainerError
from trainer.evaluation.drift import read_drift
from trainer.report import charts, write_report
from trainer.report.runs import short_names
from trainer.run.directory import fit_run


def test_one_whole_page_that_asks_nothing_of_the_network(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    page = Balanced()
    page.feed(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)), "two drawings share an id"
    assert page.references <= set(page.ids)
    rest, scripts = without_scripts(html)
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)|(src|href)=\"(?!#)|style=|\son\w+=", rest)
    *data, own = scripts
    assert data and all(kind == "application/json" and json.loads(text)["$schema"] for kind, text in data)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1].replace("&#39;", "'")
    assert policy == (
        "default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {hashed(own[1])}; style-src {hashed(style)}"
    ), "nothing but the page's own script and style, and no eval"
    assert "prefers-color-scheme: dark" in html
    assert "&lt;&amp;&gt;" in html


def test_it_shows_what_the_runs_say(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    for run in runs:
        metrics = json.loads((run / "metrics.json").read_text())["splits"]
        lineage = json.loads((run / "lineage.json").read_text())
        for value in (
            metrics["test"]["auc"],
            metrics["val"]["log_loss"],
            metrics["test"]["scenes"]["video"]["auc"],
        ):
            assert f"{value:.4f}" in html
        assert lineage["content_hash"] in html
    facts = json.loads((runs[0] / "dataset.json").read_text())["splits"]["train"]
    assert f"{facts['rows']:,}" in html
    assert "too small" in html
    rest, _ = without_scripts(html)
    # AUC, its difference, drift; calibration of all and of three scenes; a learning curve and a heat map each.
    assert rest.count("<svg") == rest.count("<figure") == 11
    legend = drawing(html, "Calibration of 00_gbdt, 01_dnn, all scenes")
    assert ">00_gbdt<" in legend and ">01_dnn<" in legend, "a legend names every curve"
    drifted = read_drift(runs[0])
    assert drifted == read_drift(runs[1])
    for row in drifted:
        assert f"<td>{row['name']}</td><td>{row['psi']:.3f}</td><td>{row['psi_in_train']:.3f}</td>" in html.replace(
            "<wbr>", ""
        )
    assert not re.search(r"id=\"(texts|ladder|importance|served)\"", html), "a section with nothing to show"
    assert "Bayes" not in html


def test_the_bayes_ceiling_where_it_is_known(runs: list[Path], tmp_path: Path) -> None:
    cell = {"user_level": "zero", "item_level": "warm", "scene": "home", "auc": 0.7654}
    test = {"overall": {"auc": 0.8765}, "scenes": {"home": {"auc": 0.9123}, "video": {"auc": None}}, "cells": [cell]}
    truth = {"splits": {"test": test | {"user_levels": {"zero": {"auc": 0.8321}}}}}
    place = tmp_path / "data" / "raw" / "toy" / "truth" / "bayes.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(truth))
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    for value in ("0.8765", "0.9123", "0.7654", "0.8321"):
        assert value in html
    place.write_text("{}")
    with pytest.raises(TrainerError, match=r"bayes\.json: expected"):
        write_report(runs, tmp_path / "report.html")
    with pytest.raises(TrainerError, match="No Bayes file"):
        write_report(runs, tmp_path / "report.html", tmp_path / "none.json")


def test_what_a_text_run_read(rich: Any, texts: Any, stage: Any, vectors: Any, tmp_path: Path) -> None:
    marts = texts(rich(1000).write(tmp_path / "marts"))
    store = vectors(vectors(tmp_path / "vectors", leave_out=("t7",)), "smollm2", leave_out=("a100", "a101"))
    for name in ("04_semantic", "06_llm_fallback"):
        fit_run(stage(name, epochs=1, min_steps=4), marts, tmp_path / name, vectors=store)
    write_report([tmp_path / "04_semantic", tmp_path / "06_llm_fallback"], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    section = html[html.index('<section id="texts">') : html.index('<section id="lineage">')]
    assert section.count("<td>title_text_id</td>") == 2, "once an encoder, not once a run"
    assert section.count("Nearest others, by e5-small") == 1
    assert "Title &lt;" in section and "Title <" not in section
    assert "39 <" not in section and "97.5% with a vector" in section
    ids = pq.read_table(marts / "training_examples_v1", columns=["title_text_id", "split"]).to_pydict()
    missing = {None, numbered("t7")}
    train = [i not in missing for i, s in zip(ids["title_text_id"], ids["split"], strict=True) if s == "train"]
    assert f"<td>{sum(train) / len(train):.1%} of rows<small>40 texts, 97.5%" in section, "of rows, not of texts"
    assert "<td>user</td><td>120</td><td>80</td><td>118</td><td>98.3%</td>" in section
    assert "secret" not in html, "words of users are nobody's business"
    assert ">06_llm_fallback: mean alpha<" in html


def test_runs_of_an_older_trainer_are_shown_without_what_they_lack(runs: list[Path], tmp_path: Path) -> None:
    for run in runs:
        (run / "drift.csv").unlink()
        table = pq.read_table(run / "predictions.parquet").drop_columns(["scene", "user_level", "item_level"])
        pq.write_table(table, run / "predictions.parquet")
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert 'id="drift"' not in html and 'href="#drift"' not in html
    assert without_scripts(html)[0].count("<svg") == 6, "no scenes, no drift, no intervals, so no differences"
    assert 'id="findings"' not in html
    (runs[0] / "predictions.parquet").write_text("no parquet")
    with pytest.raises(TrainerError, match="can't be read as a finished run"):
        write_report(runs, tmp_path / "report.html")


def test_names_tell_runs_apart() -> None:
    assert short_names([Path("r/a"), Path("r/b")]) == ["a", "b"]
    assert short_names([Path("r/a/seed_1"), Path("r/b/seed_1")]) == ["a/seed_1", "b/seed_1"]


def test_ten_runs_take_turns_in_the_tables_and_seeds_share_a_curve(toy: Any, stage: Any, tmp_path: Path) -> None:
    """No table has more columns of runs than a screen; curves beyond six, and nothing else, are folded away."""
    marts = toy(1500).write(tmp_path / "marts")
    runs = [tmp_path / f"00_gbdt_{seed}" for seed in range(8)]
    for seed, run in enumerate(runs):
        fit_run(stage("00_gbdt", seed=seed, max_iter=10), marts, run)
    write_report(runs, tmp_path / "report.html")
    html, _ = without_scripts((tmp_path / "report.html").read_text())
    tables = [[run.name for run in runs if f"<th>{run.name}</th>" in one] for one in html.split("<table>")]
    assert [one for one in tables if one] == [[run.name for run in runs[:6]], [run.name for run in runs[6:]]]
    assert all(f'aria-label="Learning curve of {run.name}"' in html for run in runs)
    assert html.index("Learning curve of 00_gbdt_5") < html.index('2 more runs</summary>\n<div class="charts small">')
    assert 'aria-label="Calibration of 00_gbdt_0, all scenes"' in html


def test_validation_without_an_auc_chooses_nothing(toy: Any, stage: Any, tmp_path: Path) -> None:
    mart = toy(1500)
    mart.set("label", [1 if v else y for v, y in zip(mart.split("val"), mart.rows["label"], strict=True)])
    marts = mart.write(tmp_path / "marts")
    for name in ("00_gbdt", "01_dnn"):
        fit_run(stage(name), marts, tmp_path / name)
    found = write_report([tmp_path / "00_gbdt", tmp_path / "01_dnn"], tmp_path / "report.html")
    (worth,) = (one for one in found if one.key == "worth")
    assert "Validation has no AUC to choose among the 2: this is the first." in worth.sentences[0]
    assert "best of" not in worth.sentences[0]


def test_a_side_of_one_level_has_no_margin_of_its_own() -> None:
    def cell(value: float) -> list[dict[str, Any]]:
        return [{"n": 90, "positives": 45, "auc": value, "alpha": None, "low": None, "high": None}]

    cube = [
        {"user_level": user, "item_level": item, "cells": cell(0.6)}
        for user in ("zero", "warm", "all")
        for item in ("warm", "all")
    ]
    values = charts.cube_chart("a run", cube, "auc", 0.5, 0.7).spec["data"]["values"]
    assert {(v["user"], v["item"]) for v in values} == {("zero", "warm"), ("warm", "warm"), ("all", "warm")}


def test_what_was_served_against_what_is_stored(runs: list[Path], tmp_path: Path) -> None:
    """In a run's folder, or named; as `trainer replay --served` wrote it."""
    log = Log(tmp_path / "log")
    log.rows[1]["item_rate"], log.rows[2]["device"] = 3.0, "<other>"
    log.write().run("--allow", "0.01", "--output", str(runs[1] / "skew.json"))
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    served = html[html.index('<section id="served">') :]
    assert "<strong>2 of 50 rows (4.00%) differ from training_examples_v1 in at least one feature;" in served
    assert "Allowed: 1% of a feature's rows. Not passed." in served
    assert "&#39;&lt;other&gt;&#39;" in served
    assert "6 features are equal in every row" in served
    assert "item_rate" in drawing(html, "Features served with other values, 01_dnn")
    log.rows = log.mart.to_pylist()
    log.write().run("--output", str(tmp_path / "equal.json"))
    write_report(runs[:1], tmp_path / "report.html", skew=tmp_path / "equal.json")
    html = (tmp_path / "report.html").read_text()
    assert "50 rows were compared: all 8 features are those of training_examples_v1 in every row." in html
    assert "Features served with other values" not in html
    for bad, message in (("{}", "is no comparison of what was served: it lacks dataset"), ("{", "can't be read")):
        (tmp_path / "equal.json").write_text(bad)
        with pytest.raises(TrainerError, match=rf"equal\.json {message}.*trainer replay --served"):
            write_report(runs, tmp_path / "report.html", skew=tmp_path / "equal.json")
