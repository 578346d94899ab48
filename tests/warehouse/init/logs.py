"""Logs to bring in, and `warehouse init` on them."""

import datetime as dt
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from typer.testing import CliRunner

from tests.warehouse.logs import FIRST_DAY
from warehouse.cli import app


def init(*options: str, answers: str = "") -> dict:
    done = CliRunner().invoke(app, ["init", *options, "--json"], input=answers)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def refused(*options: str) -> str:
    done = CliRunner().invoke(app, ["init", *options])
    assert done.exit_code == 2, done.output
    return " ".join(done.output.split())


def rows(n: int = 300, seed: int = 1, **more) -> list[dict]:
    """Impressions; more: columns that are functions of a random generator."""
    draw = random.Random(seed)
    return [
        {
            "user": f"u{draw.randrange(30)}",
            "item": f"i{draw.randrange(30)}",
            "ts": FIRST_DAY + dt.timedelta(minutes=draw.randrange(20 * 1440)),
            "clicked": int(draw.random() < 0.3),
        }
        | {name: value(draw) for name, value in more.items()}
        for _ in range(n)
    ]


def parquet(table: list[dict] | pa.Table, name: str = "a.parquet") -> None:
    path = Path("logs") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table if isinstance(table, pa.Table) else pa.Table.from_pylist(table), path)


def csv(lines: list[str], name: str = "a.csv") -> None:
    Path("logs", name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def lines_of(table: list[dict], sign: str = ",", header: bool = True) -> list[str]:
    return [*([sign.join(table[0])] if header else []), *(sign.join(str(v) for v in row.values()) for row in table)]


def block(project: str = "shop") -> dict:
    return yaml.safe_load(Path(project, "dbt_project.yml").read_text())["vars"]["datasets"][project]
