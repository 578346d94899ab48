"""README and docs/: every command parses, runs or says why not; every link leads somewhere; nothing goes unlisted."""

import contextlib
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embeddings import Recipe, Template, VectorStore
from tests.system import test_demo
from tests.system.pages import (
    PAGES,
    PROGRAMS,
    Fence,
    anchors,
    fences,
    inline_commands,
    links,
    parse,
    run_in_process,
    simple_commands,
)
from tests.trainer.toys import add_rates, make_rich
from tests.warehouse.project import ROOT

FENCES = [fence for page in PAGES for fence in fences(page)]
COMMANDS = [fence for fence in FENCES if fence.commands]
LANGUAGES = {"", "sh", "cron", "text", "python", "sql", "yaml", "diff", "ini"}
# What the README shows step by step is run there, fetch and dbt build included, on a cut of the real log.
IN_THE_DEMO = ("warehouse fetch movielens", "dbt build")


@pytest.mark.parametrize("fence", COMMANDS, ids=str)
def test_every_fenced_command_parses(fence: Fence) -> None:
    for line in fence.commands:
        for words in simple_commands(line):
            parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_inline_command_parses(page: Path) -> None:
    for span in inline_commands(page):
        for words in simple_commands(span):
            if words[0] in PROGRAMS:
                parse(words, complete=False)


@pytest.mark.parametrize(
    "wrong",
    [
        "trainer fit --stage 01_dnn --marts m --run r --sede 3",
        "trainer fit --stage 01_dnnn --marts m --run r",
        "trainer fit --stage 01_dnn --marts m",
        "trainer fitt",
        "trainer compare a b --split train",
        "embeddings build",
        "dbt build --selct x",
        "dbt build --vars '{dataset: movielens, protocoll: time}'",
        "make demmo",
        "pip install '.[sparc]'",
        "warehouse simulate bayes --seed 3",
        "python benchmarks/nothing.py",
        "cd x && .venv/bin/trainer score --run r >> log 2>&1",
        "apt-get install java",
    ],
)
def test_a_wrong_command_does_not_parse(wrong: str) -> None:
    with pytest.raises(AssertionError):
        for words in simple_commands(wrong):
            parse(words)


@pytest.mark.parametrize("fence", FENCES, ids=str)
def test_every_fence_has_a_language_that_says_what_it_is(fence: Fence) -> None:
    assert fence.language in LANGUAGES
    for path in re.findall(r"tests/\S+\.py", fence.mark):
        assert (ROOT / path).is_file(), f"{fence}: the mark names {path}, which isn't there"
    if fence.mark:
        assert fence.commands, f"{fence}: only commands need a mark"
    elif fence.commands:
        assert fence.language == "", f"{fence}: no test runs this: say why above it, <!-- not run: ... -->"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages assume it, with little in it: a training mart, texts and their vectors."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "trainer").symlink_to(ROOT / "trainer")
    marts = add_rates(make_rich(1500)).write(folder / "data/marts/movielens")
    ids = [f"t{k}" for k in range(600)]
    (marts / "texts").mkdir()
    pq.write_table(
        pa.table(
            {
                "text_id": ids,
                "text": [f"title {k}" for k in ids],
                "side": ["title"] * len(ids),
                **{name: pa.array([3] * len(ids), pa.int64()) for name in ("n_rows", "n_cold_rows", "n_train_rows")},
            }
        ),
        marts / "texts/part-0.parquet",
    )
    (marts / "texts/_SUCCESS").touch()
    recipe = Recipe("e5-small", "r1", "mean", Template(), True, 64, "fp32")
    with VectorStore.writer(folder / "data/vectors", recipe, 160) as store:
        store.append(ids, np.random.default_rng(5).normal(size=(len(ids), 160)).astype(np.float32))
    return folder


def test_every_fenced_command_that_is_not_marked_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the pages, README first, as a reader would."""
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(folder / "cache"))
    assert set(IN_THE_DEMO) < set(test_demo.COMMANDS)
    n_run = 0
    with contextlib.chdir(folder):
        for fence in COMMANDS:
            if fence.mark or fence.language != "":
                continue
            for line in fence.commands:
                if line in IN_THE_DEMO:
                    continue
                (words,) = simple_commands(line)
                code, said = run_in_process(words)
                assert code == 0, f"{fence}: {line}\n{said}"
                n_run += 1
    assert n_run >= 10
    # The guide to the report has every heading of one, and the report that was just written has no other.
    guide = (ROOT / "docs/read-the-report.md").read_text(encoding="utf-8")
    known = re.findall(r"^## (.+)$", guide, re.MULTILINE)
    page = (folder / "runs/movielens/report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h2>(.+?)</h2>", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert len(headings) >= 6
    assert [h for h in headings if not h.startswith(tuple(known))] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "LOG.md", ROOT / "data/README.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}; {target.name} has {sorted(anchors(target))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_project_that_a_page_names_is_there(page: Path) -> None:
    tops = "trainer|embeddings|warehouse|tests|benchmarks|docs"
    for name in re.findall(rf"`((?:{tops})/[\w./-]+\.\w+)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).exists() or "my_log" in name, f"{page.name}: {name}"


def test_the_readme_leads_to_every_page() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert {page for page in PAGES if page.parent == ROOT / "docs"} <= linked


@pytest.mark.parametrize("fence", [f for f in FENCES if f.text.startswith("-- warehouse/")], ids=str)
def test_an_excerpt_is_what_the_file_says(fence: Fence) -> None:
    """Its first line names the file, `-- ...` stands for what is left out."""
    path, _, excerpt = fence.text.partition("\n")
    text, at = (ROOT / path.removeprefix("-- ")).read_text(encoding="utf-8"), 0
    for piece in re.split(r"\n* *-- \.\.\.(?:\n+|$)", excerpt):
        assert piece in text[at:], f"{fence}: {path} has no (later) lines\n{piece}"
        at = text.index(piece, at) + len(piece)


def test_both_versions_of_a_feature_are_shown() -> None:
    """The README's first screen: fifteen lines of v1; below it v2, of which the page about windows shows more."""
    first, second = (fence for fence in fences(ROOT / "README.md") if fence.language == "sql")
    (third,) = (f for f in fences(ROOT / "docs/windows.md") if f.text.startswith("-- warehouse/models/features/"))
    shown = [fence.text.split("\n")[0] for fence in (first, second, third)]
    assert shown == [f"-- warehouse/models/features/feat_user_v{version}.sql" for version in (1, 2, 2)]
    assert len(first.text.split("\n")) == 15


def test_the_readmes_order() -> None:
    """One sentence, the picture, the feature, one command; then the path, one's own log, the proof, the results."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted = [
        "![",
        "```sql",
        "```\nmake demo\n```",
        "## The path",
        "## Your own log in five commands",
        "## The proof",
        "## Results",
    ]
    places = [text.index(part) for part in wanted]
    assert places == sorted(places)
    assert "## " not in text[2 : places[3]]
    sentence = " ".join(text[: places[0]].split("\n")[1:]).strip()
    assert sentence.count(". ") == 0


@pytest.mark.parametrize("fence", [f for f in FENCES if f.language == "python"], ids=str)
def test_every_python_block_compiles_and_imports_what_there_is(fence: Fence) -> None:
    compile(fence.text, str(fence), "exec")
    for module, names in re.findall(r"^from ((?:embeddings|trainer)\S*) import (.+)$", fence.text, re.MULTILINE):
        for name in names.split(", "):
            assert hasattr(import_module(module), name), f"{fence}: {module} has no {name}"
