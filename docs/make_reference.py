"""Writes docs/reference.md from the programs themselves: `python -m docs.make_reference`. A test says when it is stale.

Nothing here is described twice: flags come from the commands, stage keys from trainer/config.py, metrics from the
docstrings of trainer/metrics/metrics.py, vars from the comments of dbt_project.yml. What lacks a description stops the
script.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from docs.reference_words import CELLS, COUNTS, DRIFT, EXIT_CODES, FUNCTIONS, HEAD, IMPORTANCE, META
from embeddings.cli import app as embeddings_app
from trainer import config
from trainer.cli import app as trainer_app
from warehouse.cli import app as warehouse_app

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"
PROGRAMS = {
    "trainer": trainer_app,
    "embeddings": embeddings_app,
    "warehouse": warehouse_app,
}


def cell(text: object) -> str:
    text = re.sub(r"(?<![`\w/])([\w/]*<[\w ]+>)(?!\S*`)", r"`\1`", " ".join(str(text).split()))
    return text.replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head), *([cell(value) for value in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def described(what: str, text: str | None) -> str:
    """The description. Raises: SystemExit where there is none."""
    if not text or not text.strip():
        raise SystemExit(f"{what} has no description: give it one where it is declared.")
    return text.strip()


# ---- commands


def as_markdown(text: str) -> str:
    """A help text with its commands in backticks, which a plain terminal's help doesn't have."""
    text = re.sub(r"\[/?(?:bold)?\]", "`", text)
    return re.sub(r"^((?:Example|Then): )([^`\n]+)$", r"\1`\2`", text, flags=re.MULTILINE)


def type_of(annotation: Any, low: Any = None, high: Any = None) -> str:
    """A type as a reader would say it: text, path, a whole number from 0, one of some words."""
    if get_origin(annotation) in (list, types.UnionType, typing.Union):
        (inner, *_) = (a for a in get_args(annotation) if a is not type(None))
        return type_of(inner, low, high)
    if get_origin(annotation) is Literal:
        return " | ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is typing.Annotated:
        inner, field = get_args(annotation)
        return type_of(inner) + limits(field)
    if values := getattr(annotation, "__members__", None):
        return " | ".join(f"`{value}`" for value in values)
    name = {"str": "text", "int": "whole number", "float": "number", "Path": "path", "bool": "yes or no"}
    said = name.get(annotation.__name__, annotation.__name__)
    bounds = [f"from {low}"] * (low is not None) + [f"to {high}"] * (high is not None)
    return " ".join([said, *bounds])


def flag_row(command: str, parameter: Any) -> list[str]:
    is_flag = getattr(parameter, "is_flag", False)
    spelt = [f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts)]
    if parameter.param_type_name == "argument":
        spelt = [f"`{parameter.name.upper()}`"]
    takes = "" if is_flag else type_of(parameter.type_descriptor.annotation, parameter.min, parameter.max)
    if parameter.multiple:
        takes += ", repeatable"
    default = (
        "" if is_flag or parameter.default is None else f"`{getattr(parameter.default, 'value', parameter.default)}`"
    )
    needed = "required" if parameter.required else default
    help_text = described(f"{command} {spelt[0]}", parameter.help)
    return ["/".join(spelt), takes, needed, help_text]


def commands() -> str:
    parts = ["## Commands\n"]
    for program, app in PROGRAMS.items():
        parts += command_sections(program, get_command(app))
    return "\n".join(parts)


def command_sections(name: str, command: Any) -> list[str]:
    """One section per command that can be run, in the order of the groups that hold them."""
    members = getattr(command, "commands", {})
    own = [command_section(name, command)] if not members or command.invoke_without_command else []
    return own + [part for inner, one in members.items() for part in command_sections(f"{name} {inner}", one)]


def command_section(title: str, command: Any) -> str:
    text = described(title, inspect.cleandoc(command.help or ""))
    shared = ("help", "version", "install_completion", "show_completion")
    rows = [flag_row(title, parameter) for parameter in command.params if parameter.name not in shared]
    parts = [f"### {title}\n", as_markdown(text) + "\n"]
    if rows:
        parts.append(table(("flag", "takes", "default", "what it does"), rows))
    return "\n".join(parts)


# ---- stage keys


def limits(field: FieldInfo) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    bounds = [(sign, getattr(one, name, None)) for one in field.metadata for name, sign in signs.items()]
    return "".join(f", {sign} {value}" for sign, value in bounds if value is not None).replace(", ", " ", 1)


def key_rows(model: type[BaseModel], skip: Iterable[str] = ()) -> list[list[str]]:
    rows = []
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        parts = [a for a in get_args(field.annotation) if a is not type(None)] or [field.annotation]
        nested = [p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)]
        takes = "keys below" if nested else type_of(field.annotation) + limits(field)
        if get_origin(field.annotation) is list:
            takes = "list of " + type_of(field.annotation).replace("number", "numbers")
        default = (
            "required" if field.is_required() else "may be absent" if field.default is None else f"`{field.default}`"
        )
        rows.append([f"`{name}`", takes, default, described(f"{model.__name__}.{name}", field.description)])
    return rows


def stage_keys() -> str:
    head = ("key", "takes", "default", "is")
    network = key_rows(config.NetworkStage)
    parts = [
        "## Stage keys\n",
        "A stage file is one complete YAML; an unknown key is an error. `trainer/stages/` holds the ladder's. A stage "
        "of trees has neither `training` nor `placebo`.\n",
        table(head, network),
        "### inputs\n",
        table(head, key_rows(config.InputsConfig)),
        "### inputs.texts and inputs.llm\n",
        table(head, key_rows(config.TextsConfig)),
        "### training\n",
        described("Training", config.TrainingConfig.__doc__) + "\n",
        table(head, key_rows(config.TrainingConfig)),
        "### evaluation\n",
        table(head, key_rows(config.EvaluationConfig)),
    ]
    stages = [config.load_stage(path) for path in sorted(config.STAGES.glob("*.yaml"))]
    models: dict[str, type[BaseModel]] = {stage.model.kind: type(stage.model) for stage in stages}
    kinds: dict[tuple[str, ...], list[str]] = {}
    for kind, model in models.items():
        for row in key_rows(model, skip=("kind",)):
            assert row[2] == "required", f"{kind}: {row[0]} has a default, which the table of models doesn't show"
            kinds.setdefault((row[0], row[1], row[3]), []).append(f"`{kind}`")
    parts += [
        "### model\n",
        table(("kind", "is"), [[f"`{kind}`", described(kind, model.__doc__)] for kind, model in models.items()]),
        "All keys of a kind are required.\n",
        table(
            ("key", "takes", "of kind", "is"),
            [
                [k, takes, "every network" if len(v) == len(models) - 1 else ", ".join(v), text]
                for (k, takes, text), v in kinds.items()
            ],
        ),
    ]
    return "\n".join(parts)


# ---- metrics, meta, vars


def rows_of(names: dict[str, str]) -> list[list[str]]:
    return [[f"`{name}`", text] for name, text in names.items()]


def measured() -> str:
    rows = []
    for name, function in FUNCTIONS.items():
        summary, *rest = described(name, inspect.getdoc(function)).split("\n\n")
        source = [part for part in rest if part.startswith("Source")]
        rows.append([f"`{name}`", re.sub(r"Shapes: .*", "", " ".join([summary, *source]))])
    rows += rows_of(COUNTS)
    files = [
        f"`{file}` has a line an input.\n\n" + table(("column", "is"), rows_of(names))
        for file, names in {"drift.csv": DRIFT, "importance.csv": IMPORTANCE}.items()
    ]
    return "\n".join(
        [
            "## Metrics\n",
            "In `metrics.json`, for each held-out split and each scene in it; undefined is null.\n",
            table(("metric", "is"), rows),
            "`cold_start.csv` has a line per cell; `n`, `positives`, `users` and the AUC with its interval are as"
            " above.\n",
            table(("column", "is"), rows_of(CELLS)),
            *files,
        ]
    )


def column_meta() -> str:
    rows = [[f"`{key}`", ", ".join(f"`{v}`" for v in values), text] for key, (values, text) in META.items()]
    head = "A column of `training_examples` says what it is in its yml, under `config: meta:`. How to add one: "
    return "\n".join(
        [
            "## Column meta\n",
            head + "[add a feature](add-a-feature.md).\n",
            table(("key", "values", "says"), rows),
        ]
    )


def comments() -> dict[str, str]:
    """Var -> the comment beside it in dbt_project.yml, or its line in a list of names under a heading."""
    text = (ROOT / "dbt_project.yml").read_text(encoding="utf-8")
    section = text[text.index("\nvars:") :]
    beside = dict(re.findall(r"^  (\w+): .*?  # (.+)$", section, re.MULTILINE))
    for names, said in re.findall(r"^  #   (\w+(?:, \w+)*) +(.+)$", section, re.MULTILINE):
        beside |= dict.fromkeys(names.split(", "), said)
    return beside


def all_vars() -> str:
    declared = yaml.safe_load((ROOT / "dbt_project.yml").read_text(encoding="utf-8"))["vars"]
    said = comments()
    own = [name for name in declared if name != "datasets"]
    blocks = list(
        dict.fromkeys(["adapter", "raw_dir", *(key for block in declared["datasets"].values() for key in block)])
    )
    given = [name for name in said if name not in own and name not in blocks]

    def rows(names: Iterable[str], default: bool) -> list[list[str]]:
        return [
            [
                f"`{n}`",
                *([f"`{str(declared[n]).replace('None', 'null')}`"] if default else []),
                described(f"var {n}", said.get(n)),
            ]
            for n in names
        ]

    return "\n".join(
        [
            "## Vars\n",
            "Of dbt, in `dbt_project.yml`, or for one command: `dbt build --vars '{few_max: 10}'`.\n",
            table(("var", "default", "is"), rows(own, True)),
            "On the command line alone:\n",
            table(("var", "is"), rows(given, False)),
            "In each log's block under `datasets`, see [bring your own log](bring-your-own-log.md):\n",
            table(("var", "is"), rows(blocks, False)),
            "Spark's settings are environment variables: [run on Spark](run-on-spark.md#settings).\n",
        ]
    )


def page() -> str:
    return "\n".join([HEAD, commands(), EXIT_CODES, stage_keys(), measured(), column_meta(), all_vars()])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}")
