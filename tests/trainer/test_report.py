from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import TrainerError
from trainer.report import write_report
from trainer.run import fit_run

VOID = {"meta", "br", "link", "img", "path", "use"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed without being open; gathers ids and what refers to them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            self.references |= set(re.findall(r"url\(#([^)]+)\)", value or ""))
            if name.endswith("href"):
                self.references.add((value or "").removeprefix("#"))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture
def runs(toy: Any, stage: Any, tmp_path: Path) -> list[Path]:
    marts = toy(1500).write(tmp_path / "marts")
    names = ("00_gbdt", "01_dnn")
    for name in names:
        fit_run(stage(name), marts, tmp_path / name, command=f"trainer fit --stage {name} <&>")
    return [tmp_path / name for name in names]


def test_one_whole_page_that_asks_nothing_of_the_network(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    page = Balanced()
    page.feed(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)), "two drawings share an id"
    assert page.references <= set(page.ids)
    assert not re.search(r"<script|<link|<img|@import|url\((?!#)|(src|href)=\"(?!#)", html)
    assert "prefers-color-scheme: dark" in html
    assert "#010101" not in html, "a placeholder colour was left in a drawing"
    assert "&lt;&amp;&gt;" in html


def test_it_shows_what_the_runs_say(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    for run in runs:
        metrics = json.loads((run / "metrics.json").read_text())["splits"]
        lineage = json.loads((run / "lineage.json").read_text())
        for value in (metrics["test"]["auc"], metrics["test"]["auc_low"], metrics["val"]["log_loss"],
                      metrics["test"]["scenes"]["video"]["auc"]):  # fmt: skip
            assert f"{value:.4f}" in html
        assert lineage["content_hash"] in html
    facts = json.loads((runs[0] / "dataset.json").read_text())["splits"]["train"]
    assert f"{facts['rows']:,}" in html
    assert "too small" in html
    assert html.count("<svg") == 6  # AUC, calibration, a learning curve and a cold-start cube each
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
