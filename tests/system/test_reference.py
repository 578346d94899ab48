"""docs/reference.md lists what there is: it is made from the programs, and whatever has no description is an error."""

import re

import numpy as np
import pytest
import yaml

from docs import make_reference as reference
from tests.system.pages import command_of, known_vars
from tests.warehouse.project import ROOT
from trainer.evaluation import drift, importance_file
from trainer.metrics import metrics

MODELS = [
    (path, model)
    for path in sorted((ROOT / "warehouse/models").rglob("*.yml"))
    for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models") or []
]
DOC_BLOCKS = dict(
    re.findall(r"{% docs (\w+) %}(.*?){% enddocs %}", (ROOT / "warehouse/models/docs.md").read_text(), re.DOTALL)
)


def columns_of(model: dict) -> list[dict]:
    versions = model.get("versions") or []
    return [
        column
        for columns in [model.get("columns") or [], *(version.get("columns") or [] for version in versions)]
        for column in columns
        if "name" in column
    ]


def test_the_page_is_what_the_programs_say() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run: python -m docs.make_reference"


def test_what_has_no_description_stops_the_page() -> None:
    with pytest.raises(SystemExit, match="trainer fit --new has no description"):
        reference.described("trainer fit --new", " ")


def test_every_metric_is_listed_and_no_other() -> None:
    rng = np.random.default_rng(0)
    label, user, scene = rng.integers(0, 2, 200), rng.integers(0, 20, 200), rng.integers(0, 2, 200)
    found = metrics.evaluation(label, rng.random(200), user, scene, ("a", "b"), resamples=10, seed=0)
    assert set(found) == {*reference.FUNCTIONS, *reference.COUNTS} - {"uncalibrated"}
    (cell, *_) = metrics.cold_start(
        label,
        rng.random(200),
        user,
        np.zeros((200, 2), int),
        ("user", "item"),
        scene,
        ("a", "b"),
        resamples=10,
        min_class=1,
        seed=0,
    )
    assert set(cell) <= {*reference.CELLS, *found}
    assert set(reference.CELLS) <= {"split", *cell}
    assert tuple(reference.DRIFT) == drift.FIELDS
    assert tuple(reference.IMPORTANCE) == importance_file.FIELDS


def test_every_var_that_the_warehouse_reads_is_listed() -> None:
    assert known_vars() - {"datasets"} == set(reference.comments())


def test_every_meta_key_is_listed_with_the_values_it_takes() -> None:
    for path, model in MODELS:
        is_mart = model["name"] == "training_examples"
        for column in columns_of(model):
            for key, value in ((column.get("config") or {}).get("meta") or {}).items():
                assert key in reference.META, f"{path.name}: {column['name']}: meta {key}"
                allowed = {*reference.META[key][0], *(() if is_mart else ("measure", "text", "side"))}
                assert str(value).lower() in allowed, f"{path.name}: {column['name']}: meta {key}: {value}"


def test_every_model_and_every_column_of_it_has_a_description() -> None:
    assert sum(len(columns_of(model)) for _, model in MODELS) > 300
    for path, model in MODELS:
        for what, one in [("the model", model), *((column["name"], column) for column in columns_of(model))]:
            text = one.get("description") or ""
            for block in re.findall(r"{{ doc\('(\w+)'\) }}", text):
                assert DOC_BLOCKS.get(block, "").strip(), f"{path.name}: {what} asks for the doc block {block}"
            assert text.strip(), f"{path.name}: {model['name']}: {what} has no description"


def test_help_hides_nothing() -> None:
    """Markdown and rich take `<...>` and `[...]` for markup outside backticks, and swallow it."""
    for program in ("trainer", "embeddings"):
        for name, command in command_of(program).commands.items():
            for parameter in command.params:
                bare = re.sub(r"`[^`]*`", "", parameter.help or "")
                assert not re.search(r"<\w|\[\w", bare), f"{program} {name} {parameter.opts[0]}: {parameter.help}"
