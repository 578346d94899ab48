"""Logs and answers that `warehouse init` refuses, and in which words."""

from pathlib import Path

import pytest

from tests.warehouse.init.logs import csv, lines_of, parquet, refused, rows
from tests.warehouse.logs import FIRST_DAY


def bad(name: str) -> tuple[str, ...]:
    """Make a log that can't be brought in; its options."""
    good = rows()
    match name:
        case "no file":
            csv(["x"], "notes.md")
            return ("shop", "--log", "logs/*.csv")
        case "no folder":
            return ("shop", "--log", "nowhere/*.csv")
        case "an empty folder":
            return ("shop", "--log", "logs")
        case "an empty file":
            parquet(good)
            Path("logs/b.parquet").touch()
            return ("shop", "--log", "logs/*.parquet")
        case "only a header":
            csv(["user,item,ts,clicked"])
        case "mixed headers":
            csv(lines_of(good), "a.csv")
            csv(lines_of(good, header=False), "b.csv")
        case "two kinds":
            csv(lines_of(good))
            parquet(good)
            return ("shop", "--log", "logs/*")
        case "JSON":
            csv(["{}"], "a.json")
            return ("shop", "--log", "logs/*.json")
        case "several files":
            parquet(good, "a.parquet")
            parquet(good, "b.parquet")
            parquet(good, "c.parquet")
            return ("shop", "--log", "logs/a.parquet", "logs/b.parquet")
        case "no common column":
            parquet([{"a": 1}], "a.parquet")
            parquet([{"b": 1}], "b.parquet")
            return ("shop", "--log", "logs/*.parquet")
        case "a damaged file":
            csv(["no Parquet"], "a.parquet")
        case "a folder of others":
            parquet(good)
            Path("shop").mkdir()
            Path("shop/mine.txt").touch()
        case "a file":
            parquet(good)
            Path("shop").touch()
        case "a name that is none":
            parquet(good)
            return ("my-shop", "--log", "logs")
        case "a taken name":
            parquet(good)
            return ("first_impression", "--log", "logs")
        case "no such column":
            parquet(good)
            return ("shop", "--log", "logs", "--label", "bougth")
        case "a rating":
            parquet([row | {"clicked": n % 5} for n, row in enumerate(good)])
        case "words for labels":
            parquet([row | {"clicked": ("view", "click", "buy")[n % 3]} for n, row in enumerate(good)])
        case "a positive value that isn't there":
            parquet([row | {"clicked": ("view", "click")[n % 2]} for n, row in enumerate(good)])
            return ("shop", "--log", "logs", "--positive", "clik")
        case "no time":
            parquet([row | {"ts": f"noon, day {n}"} for n, row in enumerate(good)])
        case "one time":
            parquet([row | {"ts": FIRST_DAY} for row in good])
        case "too many scenes":
            parquet([row | {"place": n} for n, row in enumerate(good + good)])
            return ("shop", "--log", "logs", "--scene", "place")
        case "an event id that repeats":
            parquet([row | {"page": n // 2} for n, row in enumerate(good)])
            return ("shop", "--log", "logs", "--event-id", "page")
        case "no delimiter":
            csv([f"{n} " * (n % 7) for n in range(50)])
    return ("shop", "--log", "logs")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no file", "No file matches {here}/logs/*.csv. Correct --log. Left out: notes.md: does not match *.csv"),
        ("no folder", "--log nowhere/*.csv: there is no folder nowhere"),
        ("an empty folder", "is a folder that holds no CSV or Parquet file"),
        ("an empty file", "logs/b.parquet is empty (0 bytes)"),
        ("only a header", "has no rows, only headers"),
        ("mixed headers", "logs/a.csv begins with the names of its columns, {here}/logs/b.csv doesn't"),
        ("two kinds", "files of several kinds that match: .csv, .parquet"),
        ("JSON", "is .json: write the log as CSV or Parquet"),
        ("several files", "Give one pattern for all of them, in quotes so that the shell leaves it alone"),
        ("no common column", "have no column in common. The first has a"),
        ("a damaged file", "logs/a.parquet is not a whole Parquet file"),
        ("a folder of others", "The folder shop is there, and `warehouse init` didn't write it"),
        ("a file", "shop is a file"),
        ("a name that is none", "'my-shop' can't be the name of a dbt project, which is lower-case letters"),
        ("a taken name", "The name first_impression is taken"),
        ("no such column", "--label bougth: the log has no such column. It has user, item, ts, clicked"),
        (
            "a rating",
            "The label clicked isn't 0 or 1, but holds 0, 1, 2, 3. Which values are positive? Answer with --p",
        ),
        ("words for labels", "Which values are positive? Answer with --positive VALUES: buy 33.3% of the rows click"),
        ("a positive value that isn't there", "--positive clik makes no row positive. The column holds click, view"),
        ("no time", "Column ts holds noon, day 0"),
        ("one time", "too few different times to split"),
        ("too many scenes", "--scene place has 600 different values, expected 1 to 300"),
        ("an event id that repeats", "--event-id page repeats or is missing in some rows"),
        ("no delimiter", "No delimiter gives the lines of {here}/logs/a.csv the same number of fields"),
    ],
)
def test_bad_input_is_told_what_to_do(name: str, message: str, home: Path) -> None:
    options = bad(name)
    before = sorted(str(path) for path in home.rglob("*"))
    assert message.replace("{here}", str(home)) in refused(*options)
    assert sorted(str(path) for path in home.rglob("*")) == before, "nothing half-written"
