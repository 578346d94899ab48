"""The simulated log: its format, and its likeness to the real one."""

import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.warehouse.simulate.making import PERIODS, N, P, make, read_csv, truth_numbers
from warehouse.simulate import bayes, events, parameters
from warehouse.simulate.texts import entity_vocabulary
from warehouse.simulate.world import sizes

# --- format


def test_header_and_rows_by_pythons_csv_module_and_by_duckdb(log_folder, log):
    names = sorted(p.name for p in log_folder.glob("*.csv"))
    assert names == [f"antm2c_10m_part{k}.csv" for k in range(3)]
    read = [read_csv(log_folder / name) for name in names]
    for part in read:
        assert tuple(part[0]) == parameters.COLUMNS
        assert {len(row) for row in part} == {37}
    rows = [row for part in read for row in part[1:]]
    assert len(rows) == N == len(log["y"])
    for number, name in enumerate(parameters.COLUMNS):  # two readers, one reading
        assert [row[number] for row in rows] == ["" if v is None else v for v in log[name]]
    titles = "".join(row[parameters.COLUMNS.index("item_title")] for row in rows)
    assert "\n" in titles and '"' in titles and "," in titles


def test_parquet_holds_what_csv_holds(tmp_path):
    for form in ("csv", "parquet"):
        make(tmp_path / form, 20_000, form=form)
    for part in range(3):
        rows = read_csv(tmp_path / "csv" / f"antm2c_10m_part{part}.csv")
        table = pq.read_table(tmp_path / "parquet" / f"antm2c_10m_part{part}.parquet")
        assert table.column_names == rows[0]
        for number, name in enumerate(rows[0]):
            texts, values = [row[number] for row in rows[1:]], table[name].to_pylist()
            if name.startswith("deep") and table.schema.field(name).type == "double":
                assert [float(t) if t else None for t in texts] == values
            else:
                assert texts == ["" if v is None else str(v) for v in values]
    truth = [pq.read_table(tmp_path / form / "truth/true_probabilities.parquet") for form in ("csv", "parquet")]
    assert truth[0]["true_probability"].equals(truth[1]["true_probability"])
    assert truth[1]["event_id"][0].as_py() == "antm2c_10m_part0.parquet:1"


def test_both_time_forms_and_every_row_in_its_part_by_time(log):
    long = re.compile(r"2023-0[78]-\d\d \d\d:\d\d:\d\d")
    short = re.compile(r"2023/[78]/[1-9]\d? (1?\d|2[0-3]):[0-5]\d")  # no leading zeros but the minute's
    for k, form in enumerate((long, long, short)):
        mine = log["part"] == f"antm2c_10m_part{k}.csv"
        assert all(form.fullmatch(t) for t in log["log_time"][mine])
        assert (np.diff(log["at"][mine].astype("datetime64[s]").astype(int)) >= 0).all()
        assert set(log["day"][mine]) == set(range(31))


def test_truth_joins_row_for_row_and_stays_out_of_an_adapters_way(log_folder, log):
    for name in ("user", "item", "scene"):
        column = name if name == "scene" else f"{name}_id"
        assert (log[f"true_{name}"] == log[column]).all()
    assert (log["true_label"] == log["y"]).all()
    at = np.array([t.replace("/", "-") for t in log["log_time"]])
    written = [
        f"{d}-{int(m):02d}-{int(n):02d} {c:0>5}"[:16] for d, m, n, c in (re.split("[- ]", t)[:4] for t in at[::997])
    ]
    assert written == [str(t)[:16].replace("T", " ") for t in log["at"][::997].astype("datetime64[m]")]
    assert list(log_folder.glob("*.parquet")) == []
    assert [p.name for p in log_folder.iterdir() if p.is_dir()] == ["truth"]


# --- likeness to the real log


def test_split_rows_scene_shares_and_rates(log):
    for number, (first, last) in enumerate(PERIODS.values()):
        mine = (log["day"] >= first) & (log["day"] < last)
        assert abs(mine.sum() - N * parameters.PERIOD_ROWS[number] / parameters.FULL_EVENTS) <= 1
        assert log["y"][mine].mean() == pytest.approx(parameters.PERIOD_RATES[number], abs=0.015)
        real = np.array(parameters.PERIOD_SCENE_ROWS[number]) / sum(parameters.PERIOD_SCENE_ROWS[number])
        for scene, share in enumerate(real):
            error = np.sqrt(share * (1 - share) / mine.sum())
            assert abs((log["scene"][mine] == str(scene)).mean() - share) < 4 * error
    rates = [log["y"][(log["scene"] == str(s)) & (log["day"] < 24)].mean() for s in range(5)]
    assert rates == pytest.approx(P.scene_rates, abs=0.015)


def test_scene_shares_drift_towards_validations_within_train():
    shares = events.scene_shares()
    train, val = (np.array(r) / sum(r) for r in parameters.PERIOD_SCENE_ROWS[:2])
    assert shares[:24].mean(0) == pytest.approx(train, abs=1e-12)
    assert ((shares[23] - shares[0]) * (val - train) > 0).all()
    assert shares.sum(1) == pytest.approx(np.ones(31)) and (shares > 0).all()


def test_users_and_items_in_proportion_with_heavy_tails_and_cold_rows(log):
    # The real log has a user for every 165 rows and an item for every 131 or so; half of the catalogue is never shown.
    assert len(set(log["user_id"])) == pytest.approx(N / 165, rel=0.05)
    assert len(set(log["item_id"])) == pytest.approx(N / 131, rel=0.25)
    assert sizes(parameters.FULL_EVENTS, P) == (P.users_at_full_size, P.items_at_full_size)
    for name, top_tenth in (("user_id", 0.25), ("item_id", 0.70)):
        counts = np.sort(np.unique(log[name], return_counts=True)[1])[::-1]
        assert counts[: len(counts) // 10].sum() > top_tenth * N
    scenes_of_item = {(i, s) for i, s in zip(log["item_id"], log["scene"], strict=True)}
    assert len(scenes_of_item) == len(set(log["item_id"]))  # a scene's items are its own
    user, item, _, day = truth_numbers(log)
    late = day >= 26
    users, items = bayes.levels(user, day)[late], bayes.levels(item, day)[late]
    assert (users == 2).mean() > 0.97 and (users < 2).mean() > 0  # users mostly warm
    for scene in "01234":  # nor does a scene hang on one item
        shown = np.unique(log["item_id"][log["scene"] == scene], return_counts=True)[1]
        assert shown.max() / shown.sum() < 0.15
    assert 0.03 < (items == 0).mean() < 0.20  # items are born
    first_day = {}
    for key, when in zip(item[day > 0], day[day > 0], strict=True):
        first_day.setdefault(key, when)
    assert len(set(first_day.values())) == 30


def test_texts_are_as_untidy_as_the_real_ones(log):
    empty = {name: np.mean([v is None for v in log[name]]) for name in parameters.TEXT_COLUMNS}
    assert 0.002 < empty["item_title"] < 0.10 and 0.03 < empty["item_entity_names"] < 0.30
    assert 0.05 < empty["bill_entity_seq"] < 0.2 and 0.02 < empty["service_entity_seq"] < 0.15
    assert 0.2 < empty["query_entity_seq"] < 0.4
    titles, lists = {}, {}
    for item, title, entities in zip(log["item_id"], log["item_title"], log["item_entity_names"], strict=True):
        titles.setdefault(item, []).append(title)
        lists.setdefault(item, set()).add(entities)
    other = sum(len(t) - max(map(t.count, set(t))) for t in titles.values())
    assert other / N == pytest.approx(21_445 / parameters.FULL_EVENTS, rel=0.35)
    seen_often = [lists[item] for item, t in titles.items() if len(t) >= 20]
    assert np.mean([len(x) > 1 for x in seen_often]) == pytest.approx(247 / 2820, abs=0.04)
    for name, most in (("bill_entity_seq", 5), ("service_entity_seq", 6), ("query_entity_seq", 10)):
        distinct = {(u, t) for u, t in zip(log["user_id"], log[name], strict=True) if t}
        assert 1.5 < len(distinct) / len({u for u, _ in distinct}) <= most  # sequences drift, slowly
    assert np.mean([t.isascii() for t in set(log["item_title"]) - {None}]) == pytest.approx(P.english_share, abs=0.02)
    vocabulary = {e for name in parameters.TEXT_COLUMNS[:4] for t in log[name] if t for e in t.split(",")}
    assert 1_000 < len(vocabulary) < 3_000  # few enough to encode them all
    assert vocabulary <= set(entity_vocabulary(sizes(N, P)[1]).names.to_pylist())


def test_numbers_and_ids_among_the_deep_features(log):
    for k in range(27):
        values = [v for v in log[f"deep_features_{k}"] if v is not None]
        if k in (14, 19, 20, 21, 22, 26):
            assert len(values) < N  # has NULLs
        if k not in parameters.NUMERIC_FEATURES:
            assert all(v.isdigit() for v in set(values))
        else:
            np.array(values, dtype=float)
