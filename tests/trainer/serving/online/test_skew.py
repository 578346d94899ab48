"""Skew in production: logs made by hand, whose differences are known, against a mart."""

from __future__ import annotations

import json
import math
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.serving.online.logs import FEATURES, TIMES, Log, N
from trainer.serving.online.compared import Difference
from trainer.serving.online.skew import Skew


def features(skew: Skew) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in skew.report()["features"]}


def test_a_log_of_what_the_mart_has(log: Log) -> None:
    skew = log.write().compared()
    report = skew.report()
    assert (report["log_rows"], report["compared"], report["rows_that_differ"], report["never_served"]) == (N, N, 0, 0)
    assert sorted(features(skew)) == sorted(FEATURES)
    assert all((one["rows"], one["mismatches"], one["mismatch_rate"]) == (N, 0, 0.0) for one in report["features"])
    assert report["days"] == ["2026-01-01", "2026-01-03"]
    assert report["passed"]
    assert (
        report["sentences"][0]
        == "50 rows were compared: all 8 features are those of training_examples_v1 in every row."
    )
    smape = {name: one["smape"] for name, one in features(skew).items()}
    numbers = {"item_rate", "user_count", "scene_counts", "ctx_dense"}
    assert smape == dict.fromkeys(FEATURES) | dict.fromkeys(numbers, 0.0), "a text id is no number"


def test_a_planted_mismatch_in_three_rows_and_its_smape_by_hand(log: Log) -> None:
    """Served 3 for 1, -2 for 2 and 0.5 for 0: 2 * 2 / 4 = 1, 2 * 4 / 4 = 2, 2 * .5 / .5 = 2; 5 over 50 rows."""
    for k, value in ((1, 3.0), (2, -2.0), (0, 0.5)):
        log.rows[k]["item_rate"] = value
    skew = log.write().compared()
    one = features(skew)["item_rate"]
    assert (one["mismatches"], one["mismatch_rate"], one["null_on_one_side"]) == (3, 3 / 50, 0)
    assert one["smape"] == pytest.approx(5 / 50, abs=1e-15)
    assert one["largest"] == 4.0
    assert one["examples"][0][1:] == ["0.5", "0.0"]
    assert skew.report()["features"][0]["name"] == "item_rate", "the worst comes first"
    assert (skew.n_differ, skew.passed(0.0), skew.passed(0.05), skew.passed(0.06)) == (3, False, False, True)
    assert skew.sentences()[0] == (
        "3 of 50 rows (6.00%) differ from training_examples_v1 in at least one feature; 7 of 8 features are equal in "
        "every row."
    )


def test_nulls_and_lists(log: Log) -> None:
    log.rows[3]["item_rate"] = None
    log.rows[4]["device"] = None
    log.rows[5]["scene_counts"] = [1.0, 4.0, 5.0]  # the mart: 1, 2, 5
    log.rows[6]["ctx_ids"] = [*log.rows[6]["ctx_ids"], "more"]
    log.rows[7]["user_count"] += 1
    log.rows[7]["title_text_id"] += 1
    skew = log.write().compared()
    one = features(skew)
    assert {name: found["mismatches"] for name, found in one.items() if found["mismatches"]} == {
        "item_rate": 1, "device": 1, "scene_counts": 1, "ctx_ids": 1, "user_count": 1, "title_text_id": 1,
    }  # fmt: skip
    assert {name for name, found in one.items() if found["null_on_one_side"]} == {"item_rate", "device"}
    assert one["scene_counts"]["smape"] == pytest.approx(2 * 2 / 6 / (3 * N), abs=1e-15)
    assert (one["scene_counts"]["largest"], one["ctx_ids"]["largest"], one["title_text_id"]["largest"]) == (
        2.0,
        None,
        None,
    )
    assert skew.n_differ == 5, "row 7 differs in two features and is one row"


def test_what_the_mart_has_no_row_of(log: Log) -> None:
    shown = [dict(row) for row in log.rows]
    never = {"event_id": None, "item_id": "never shown"}
    log.rows += [row | never for row in shown] + [shown[0] | {"event_id": "unknown"}] * 2
    log.rows += [shown[1] | {"event_at": TIMES[-1] + timedelta(days=9), "event_id": None}]
    log.rows += [shown[2] | {"user_id": "another"}]
    del log.rows[10:20]
    report = log.write().compared().report()
    assert report["not_compared"] == {"no_key": N, "no_event": 2, "no_day": 1, "several": 0, "other_key": 1}
    assert (report["log_rows"], report["compared"], report["never_served"]) == (2 * N - 10 + 4, N - 10, 10)
    assert report["rows_that_differ"] == 0
    assert not report["passed"], "an event_id is of another user's event"
    assert "1 with the event_id of an event of another user, item or scene." in report["sentences"]


def test_without_event_ids_the_row_is_the_only_one_of_its_key(log: Log) -> None:
    for row in log.rows:
        row["event_id"] = None
    log.rows[8]["item_rate"] = -1.0
    skew = log.write().compared()
    assert (skew.n_compared, skew.n_differ) == (N, 1)
    assert features(skew)["item_rate"]["examples"] == [[log.mart["event_id"][8].as_py(), "-1.0", "8.0"]]


def test_a_key_of_several_events_is_not_compared(tmp_path: Path) -> None:
    log = Log(tmp_path)
    path = sorted((log.marts / "training_examples_v1").glob("event_date=2026-01-01/*.parquet"))[0]
    table = pq.ParquetFile(path).read()
    same = ["user_id", "item_id", "scene", "event_at"]
    rows = table.to_pylist()
    rows[1] |= {name: rows[0][name] for name in same}
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    log.rows = [rows[0] | {"event_id": None}, *log.rows[-5:]]
    skew = log.write().compared()
    assert (skew.n_compared, skew.left["several"]) == (5, 1)


def test_rows_that_are_there_twice_are_each_compared_and_counted(log: Log) -> None:
    log.rows = [*log.rows, *(dict(row) for row in log.rows[:5])]
    log.rows[-1]["user_count"] += 7
    log.write()
    log.rows = log.rows[:2]
    skew = log.write("copied").compared()
    assert (skew.n_compared, skew.repeated, skew.n_differ, skew.never_served) == (57, 7, 1, 0)


def test_an_event_that_was_asked_for_at_another_instant(log: Log) -> None:
    """Across midnight, too: the event is in the mart's next day."""
    log.rows[24]["event_at"] -= timedelta(minutes=1)
    log.rows[30]["event_at"] += timedelta(minutes=1)
    skew = log.write().compared()
    assert (skew.n_compared, skew.elsewhen, skew.n_differ) == (N, 2, 0)


def test_files_that_have_other_columns_than_the_rest(log: Log) -> None:
    """A run was exchanged during the day: a feature counts in the rows that have it, and NULL is another thing."""
    half, log.rows = log.rows[:20], log.rows[20:]
    log.write("b")
    log.rows, names = half, [name for name in log.schema.names if name not in ("device", "event_id", "request_id")]
    log.schema = pa.schema([log.schema.field(name) for name in names])
    skew = log.write("c").compared()
    assert (skew.n_compared, skew.n_differ) == (N, 0)
    assert (features(skew)["device"]["rows"], features(skew)["item_rate"]["rows"]) == (30, 50)


def test_types_in_which_arrow_keeps_the_same(log: Log) -> None:
    kinds = {
        "event_id": pa.large_string(),
        "user_id": pa.dictionary(pa.int32(), pa.string()),
        "event_at": pa.timestamp("ns", "UTC"),
        "device": pa.dictionary(pa.int8(), pa.string()),
        "scene_counts": pa.large_list(pa.float64()),
    }
    log.schema = pa.schema([pa.field(f.name, kinds.get(f.name, f.type)) for f in log.schema])
    assert log.write().compared().n_differ == 0


def test_a_feature_of_another_type_and_one_that_the_mart_lacks(log: Log) -> None:
    for row in log.rows:
        row |= {"user_count": str(row["user_count"]), "gone": 1.0}
    at = log.schema.get_field_index("user_count")
    log.schema = log.schema.set(at, pa.field("user_count", pa.string())).append(pa.field("gone", pa.float64()))
    skew = log.write().compared()
    assert features(skew)["user_count"]["types"] == ["string", "int64"]
    assert features(skew)["user_count"]["mismatch_rate"] == 1.0
    assert "user_count was served as string, the mart has int64: no value is equal." in skew.sentences()
    assert skew.report()["not_in_mart"] == ["gone"]
    assert not skew.passed(1.0), "what can't be compared didn't pass"


def test_a_log_of_another_version_of_the_mart(log: Log) -> None:
    second = log.marts / "training_examples_v2"
    for path in sorted((log.marts / "training_examples_v1").glob("event_date=*/*.parquet")):
        there = second / path.parent.name / path.name
        there.parent.mkdir(parents=True, exist_ok=True)
        table = pq.ParquetFile(path).read()
        pq.write_table(table.append_column("user_n", pa.nulls(len(table), pa.float64())), there)
    record = json.loads((log.marts / "training_examples_v1/_build/build.json").read_text())
    meta = {"role": "feature", "kind": "dense", "group": "user"}
    record["columns"].append({"name": "user_n", "data_type": "double", "description": "", "meta": meta})
    (second / "_build").mkdir()
    (second / "_build/build.json").write_text(json.dumps(record | {"version": 2}))
    log.schema = log.schema.append(pa.field("user_n", pa.float64()))
    log.write()
    assert log.run("--json").exit_code == 0, "the highest version has what was served"
    found = log.run("--mart", "training_examples_v1")
    assert found.exit_code == 1
    assert "doesn't have user_n" in found.output
    assert "training_examples_v2 has them all: --mart training_examples_v2." in " ".join(found.output.split())


def by_hand(served: list[Any], stored: list[Any]) -> tuple[int, int, float]:
    """Mismatches, NULL on one side, the largest difference: value by value."""

    def apart(one: Any, other: Any) -> float:
        if isinstance(one, list) and isinstance(other, list):
            return max(map(apart, one, other), default=0.0) if len(one) == len(other) else math.inf
        return abs(one - other) if None not in (one, other) else 0.0

    unequal = [(one, other) for one, other in zip(served, stored, strict=True) if one != other]
    nulls = sum((one is None) != (other is None) for one, other in unequal)
    return len(unequal), nulls, max((apart(*both) for both in unequal), default=0.0)


@pytest.mark.parametrize("seed", range(30))
def test_differences_are_those_found_value_by_value(seed: int) -> None:
    draw = random.Random(seed)

    def number() -> float | None:
        return draw.choice([None, 0.0, 1.5, -2.0, float(draw.randrange(4))])

    def numbers() -> list[float | None] | None:
        return draw.choice([None, [], [number() for _ in range(draw.randrange(1, 4))]])

    make, kind = draw.choice([(number, pa.float64()), (numbers, pa.list_(pa.float64()))])
    found, served, stored = Difference(), [], []
    for _ in range(3):  # in parts
        ours = [make() for _ in range(20)]
        theirs = [draw.choice([one, make()]) for one in ours]
        found.add(pa.array([f"e{k}" for k in range(20)]), pa.array(ours, kind), pa.array(theirs, kind))
        served, stored = served + ours, stored + theirs
    assert (found.rows - found.equal, found.null_on_one_side, found.largest) == by_hand(served, stored)
    assert len(found.examples) == min(3, found.rows - found.equal)
