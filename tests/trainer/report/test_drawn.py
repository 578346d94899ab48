"""The page where it is really drawn: a headless Chromium, at the width of a phone and of a desk, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.report.browser import Browser, browser, find
from tests.trainer.serving.online.logs import Log
from trainer.evaluation.importance_file import write_importance
from trainer.report import write_report
from trainer.run.directory import fit_run

pytestmark = pytest.mark.skipif(find() is None, reason="no chromium is installed")

# What each drawing shows: its size, and how many shapes and words in it have an extent.
FIGURES = """[...document.querySelectorAll("figure.chart svg")].filter(e => e.checkVisibility()).map(svg => {
  const frame = svg.getBoundingClientRect();
  const drawn = [...svg.querySelectorAll("path, use, text, line")].filter(e => {
    const box = e.getBoundingClientRect(); return box.width + box.height > 0; });
  return {title: svg.getAttribute("aria-label"), width: frame.width, height: frame.height,
    live: !!svg.closest(".live"), words: drawn.filter(e => e.tagName == "text").length,
    shapes: drawn.filter(e => e.tagName != "text").length};
})"""
CLIPPED = """[...document.querySelectorAll("section *")].filter(e => {
  const box = e.getBoundingClientRect();
  const frame = e.closest(".wide, figure");
  return box.width && (frame ? frame.getBoundingClientRect().right : box.right) > innerWidth;
}).map(e => e.outerHTML.slice(0, 80))"""


@pytest.fixture
def page(rich: Any, texts: Any, stage: Any, vectors: Any, tmp_path: Path) -> Path:
    """A report with every section but the ladder."""
    marts = texts(rich(1000).write(tmp_path / "marts"))
    store = vectors(vectors(tmp_path / "vectors"), "smollm2")
    for name in ("00_gbdt", "06_llm_fallback"):
        short = {"max_iter": 10} if name == "00_gbdt" else {"epochs": 2, "min_steps": 4}
        fit_run(stage(name, **short), marts, tmp_path / name, vectors=store)
    row = {"name": "item_rate", "group": "item", "drop": 0.1, "sd": 0.01, "repeats": 2, "rows": 9, "auc": 0.7}
    write_importance(tmp_path / "00_gbdt", [{"what": what} | row for what in ("feature", "group")])
    log = Log(tmp_path / "log")
    log.rows[1]["item_rate"], log.rows[2]["scene_counts"] = 3.0, None
    log.write().run("--output", str(tmp_path / "00_gbdt/skew.json"))
    write_report([tmp_path / "00_gbdt", tmp_path / "06_llm_fallback"], tmp_path / "report.html")
    return tmp_path / "report.html"


@pytest.fixture
def chromium() -> Iterator[Browser]:
    with browser(find() or "") as one:
        yield one


def test_it_is_drawn_whole_at_any_width_and_says_nothing_on_the_console(page: Path, chromium: Browser) -> None:
    for width in (400, 1400):
        papers = []
        for dark in (False, True):
            chromium.open(page, width, dark=dark)
            chromium.draw()
            assert chromium.ask("document.documentElement.scrollWidth") <= width
            assert chromium.ask(CLIPPED) == []
            figures = chromium.ask(FIGURES)
            assert len(figures) == 15, "AUC 2, calibration 4, drift, served; 3 heat maps; learning 2, importance 2"
            assert all(figure["live"] for figure in figures)
            for figure in figures:
                assert min(figure["width"], figure["height"]) > 60, figure
                assert min(figure["words"], figure["shapes"]) > 3, figure
            papers.append(chromium.ask("getComputedStyle(document.body).backgroundColor"))
        assert papers == ["rgb(255, 255, 255)", "rgb(18, 22, 31)"]
    told = [what for what, _ in chromium.events]
    assert "Network.requestWillBeSent" in told
    assert not {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"} & set(told)
    asked = {of["request"]["url"] for what, of in chromium.events if what == "Network.requestWillBeSent"}
    assert asked == {page.resolve().as_uri()}, "the page asked for another file"


def test_it_prints_on_white_and_to_its_end(page: Path, chromium: Browser) -> None:
    chromium.open(page, 718, dark=True, medium="print")
    assert chromium.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chromium.ask("document.documentElement.scrollWidth") <= 718
    still = "[...document.querySelectorAll('.still svg')].filter(e => e.getBoundingClientRect().height > 30).length"
    assert chromium.ask(still) == chromium.ask("document.querySelectorAll('figure.chart').length"), (
        "paper has no scripts"
    )
    hidden = "[...document.querySelectorAll('details *')].filter(e => e.tagName == 'TD' && !e.checkVisibility()).length"
    assert chromium.ask(hidden) == 0
    scrolls = "[...document.querySelectorAll('.wide, .still')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert chromium.ask(scrolls) == 0, "paper doesn't scroll"
