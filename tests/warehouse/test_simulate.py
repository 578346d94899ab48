"""The simulated log: its format, its likeness to the real one, and that only the intended parts carry the truth."""

import csv
import filecmp
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from warehouse.simulate import bayes, events, output, parameters
from warehouse.simulate.texts import entity_vocabulary
from warehouse.simulate.vocabulary import TOPICS
from warehouse.simulate.world import sizes

N = 200_000
P = parameters.Parameters()
PERIODS = {"train": (0, 24), "val": (24, 26), "test": (26, 31)}


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "warehouse.simulate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def make(out: Path, n: int, seed: int = 7, parts: int = 3, form: str = "csv", threads: int = 2) -> Path:
    """The same without a process of its own."""
    assert output.simulate(output.Request(n, seed, parts, form), out, threads)
    return out


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def files_of(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def assert_same_bytes(one: Path, other: Path) -> None:
    assert files_of(one) == files_of(other)
    assert filecmp.cmpfiles(one, other, files_of(one), shallow=False) == (files_of(one), [], [])


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("raw") / "simulated"
    done = run("--events", N, "--seed", 7, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["written"] is True
    assert done.stderr == ""  # no progress bar where nobody looks
    return out


@pytest.fixture(scope="session")
def log(log_folder) -> dict[str, np.ndarray]:
    """Every column of the log as text (None where empty) in the truth's order, and the truth as numbers."""
    names = ", ".join(f"l.{name}" for name in parameters.COLUMNS)
    rows = duckdb.sql(f"""
        with l as (
            select *,
                parse_filename(filename) || ':' || row_number() over (partition by filename order by n) as event_id
            from (
                select *, row_number() over () as n
                from read_csv('{log_folder}/*.csv', all_varchar = true, header = true, filename = true)
            )
        )
        select {names}, t.event_id, t.true_probability as p, t.row_number, t.part,
            datediff('day', date '2023-07-10', t.log_time) as day, t.label as true_label,
            t.user_id as true_user, t.item_id as true_item, t.scene as true_scene, t.log_time as at
        from l join '{log_folder}/truth/true_probabilities.parquet' t using (event_id)
        order by t.part, t.row_number
    """).to_arrow_table()
    out = {name: rows[name].to_numpy(zero_copy_only=False) for name in rows.column_names}
    out["y"] = out["label"].astype(int)
    out["residual"] = out["y"] - out["p"]
    return out


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


def truth_numbers(log):
    number = [np.unique(log[name], return_inverse=True)[1] for name in ("user_id", "item_id")]
    return *number, log["scene"].astype(int), log["day"].astype(int)


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


# --- the truth


def test_true_probabilities_are_calibrated(log):
    p, y = log["p"], log["y"]
    bins = np.digitize(p, np.quantile(p, np.linspace(0, 1, 21)[1:-1]))
    for key in [bins == b for b in range(20)] + [log["scene"] == str(s) for s in range(5)]:
        error = np.sqrt((p[key] * (1 - p[key])).sum())
        assert abs((y[key] - p[key]).sum()) < 4 * error


def leak(log, values: np.ndarray) -> float:
    """How far the labels stray from the truth by the values of a column: chi-square as a standard normal, at most.

    Given the truth nothing else may tell the label: residuals are summed by value (rare ones together, NULL apart).
    """
    _, code, counts = np.unique(
        np.array(["\0" if v is None else str(v) for v in values]), return_inverse=True, return_counts=True
    )
    code = np.where(counts[code] < 50, 0, code + 1)
    scale = np.bincount(code, log["p"] * (1 - log["p"]))
    chi = np.bincount(code, log["residual"])[scale > 5] ** 2 / scale[scale > 5]
    freedom = len(chi)
    return float((chi.sum() - freedom) / np.sqrt(2 * freedom))


def numeric_bins(values: np.ndarray) -> np.ndarray:
    number = np.array([np.nan if v is None else float(v) for v in values])
    bins = np.digitize(number, np.nanquantile(number, np.linspace(0, 1, 31)[1:-1]))
    return np.where(np.isnan(number), -1, bins)


def test_no_column_tells_more_than_the_truth(log):
    for name in parameters.COLUMNS:
        if name in ("label", "log_time"):
            continue
        values = log[name]
        if name.startswith("deep") and int(name.rpartition("_")[2]) in parameters.NUMERIC_FEATURES:
            values = numeric_bins(values)
        assert leak(log, values) < 4.5, name
        assert leak(log, np.array([v is None for v in log[name]])) < 6.0, f"NULLs of {name}"
        assert leak(log, np.array([len(v or "") for v in log[name]])) < 4.5, f"length of {name}"
    for name in ("user_id", "item_id"):
        assert leak(log, np.array([v[:2] for v in log[name]])) < 4.5
        assert leak(log, np.array([v[-1] for v in log[name]])) < 4.5


def test_the_leak_test_catches_leaks(log):
    chance = np.random.default_rng(0).random(N)
    null = np.where(chance < 0.02 + 0.01 * log["y"], None, log["deep_features_24"])
    assert leak(log, np.array([v is None for v in null])) > 6.0
    assert leak(log, np.where(chance < 0.97, log["deep_features_12"], log["y"])) > 4.5
    assert order_leak(log, np.lexsort((log["y"], log["at"], log["part"]))) > 4.5


def order_leak(log, order: np.ndarray) -> float:
    """Standard score of: among rows of the same instant, do later ones click more than the truth says?"""
    instant = (
        log["at"].astype("datetime64[s]").astype(int)[order] * 3 + np.unique(log["part"], return_inverse=True)[1][order]
    )
    same = np.flatnonzero(instant[1:] == instant[:-1])
    p, residual = log["p"][order], log["residual"][order]
    error = np.sqrt((p[same] * (1 - p[same]) + p[same + 1] * (1 - p[same + 1])).sum())
    return float(abs((residual[same + 1] - residual[same]).sum()) / error)


def test_neither_row_order_nor_row_number_tells_the_label(log):
    assert order_leak(log, np.arange(N)) < 4
    p, residual = log["p"], log["residual"]
    variance = p * (1 - p)
    for lag in (1, 2, 3):  # neighbours don't know each other
        z = (residual[lag:] * residual[:-lag]).sum() / np.sqrt((variance[lag:] * variance[:-lag]).sum())
        assert abs(z) < 4
    for step in (2, 3, 7, 64, 1000):
        assert leak(log, log["row_number"].astype(int) % step) < 4.5


def test_the_order_of_ids_says_nothing_of_quality(log):
    for name in ("user_id", "item_id"):
        ids, code = np.unique(log[name], return_inverse=True)  # ids in rising order
        counts = np.bincount(code)
        quality = np.bincount(code, log["p"]) / counts
        for trait in (quality, counts):
            ranks = [np.argsort(np.argsort(x)) for x in (trait, np.arange(len(ids)))]
            assert abs(np.corrcoef(*ranks)[0, 1]) < 4 / np.sqrt(len(ids))
        sorted_ids = np.argsort(np.argsort(quality))  # had ids been given out by quality, this would see it
        assert np.corrcoef(np.argsort(np.argsort(quality)), sorted_ids)[0, 1] > 4 / np.sqrt(len(ids))


def test_text_tells_taste_by_scene_and_on_cold_items(log):
    """How much of an item's topics occurs in the user's own sequences: read from text alone, as an encoder would."""
    vocabulary = entity_vocabulary(sizes(N, P)[1])
    topic = dict(
        zip(vocabulary.names.to_pylist(), np.repeat(np.arange(len(TOPICS)), np.diff(vocabulary.starts)), strict=True)
    )

    def counts(text: str | None) -> np.ndarray:
        return np.bincount([topic[e] for e in text.split(",")] if text else [], minlength=len(TOPICS))

    memo: dict[str | None, np.ndarray] = {}
    match = np.zeros(N)
    for name in parameters.TEXT_COLUMNS[:3]:
        for row, (mine, its) in enumerate(zip(log[name], log["item_entity_names"], strict=True)):
            for text in (mine, its):
                if text not in memo:
                    memo[text] = counts(text)
            match[row] += memo[mine] @ memo[its]
    auc = [roc_auc_score(log["y"][s], match[s]) for s in (log["scene"] == str(k) for k in range(5))]
    assert min(auc[3], auc[4]) > 0.53  # contents and videos are chosen by topic
    assert auc[2] < min(auc[3], auc[4])  # mini-programs on purpose
    _, item, _, day = truth_numbers(log)
    cold = (bayes.levels(item, day) == 0) & (day > 0) & np.isin(log["scene"], ("1", "3", "4"))
    assert cold.sum() > 3_000
    assert roc_auc_score(log["y"][cold], match[cold]) > 0.53


# --- the Bayes AUC


def test_bayes_auc_is_scikit_learns_and_levels_are_a_plain_count(log, log_folder):
    report = json.loads((log_folder / "truth" / "bayes.json").read_text())
    user, item, _, day = truth_numbers(log)
    before: dict[tuple, int] = {}
    level = np.empty((2, N), int)
    order = np.argsort(day, kind="stable")
    for date in range(31):
        today = order[day[order] == date]
        for side, key in enumerate((user, item)):
            for row in today:
                n = before.get((side, key[row]), 0)
                level[side, row] = 0 if n == 0 else 1 if n <= 5 else 2
        for side, key in enumerate((user, item)):
            for row in today:
                before[side, key[row]] = before.get((side, key[row]), 0) + 1
    compared = 0
    for name, (first, last) in PERIODS.items():
        mine = (day >= first) & (day < last)
        overall = report["splits"][name]["overall"]
        assert overall["n"] == mine.sum()
        assert overall["auc"] == pytest.approx(roc_auc_score(log["y"][mine], log["p"][mine]), abs=2e-6)
        assert overall["auc"] == pytest.approx(overall["auc_expected"], abs=0.01)
        for cell in report["splits"][name]["cells"]:
            u, i = bayes.LEVELS.index(cell["user_level"]), bayes.LEVELS.index(cell["item_level"])
            inside = mine & (level[0] == u) & (level[1] == i) & (log["scene"] == cell["scene"])
            assert (cell["n"], cell["n_clicks"]) == (inside.sum(), log["y"][inside].sum())
            if cell["auc"] is None:
                assert min(cell["n_clicks"], cell["n"] - cell["n_clicks"]) < 30
            else:
                assert cell["auc"] == pytest.approx(roc_auc_score(log["y"][inside], log["p"][inside]), abs=2e-6)
                compared += 1
    assert compared > 25


def test_expected_auc_needs_no_labels():
    rng = np.random.default_rng(0)
    steps = rng.integers(1, 1_000_000, 3_000)
    p = steps / 1e6
    scored = bayes.score(steps, (rng.random(3_000) < p).astype(int))
    higher = (p[:, None] > p) + 0.5 * (p[:, None] == p)
    weight = p[:, None] * (1 - p)
    # A row against itself isn't a pair, but it is one in the sum over all labels: its share is 1 / n.
    assert scored["auc_expected"] == pytest.approx((higher * weight).sum() / weight.sum(), abs=1e-6)


def test_bayes_command_reads_the_truth_back(log_folder):
    done = run("bayes", "--out", log_folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((log_folder / "truth" / "bayes.json").read_text())
    table = run("bayes", "--out", log_folder).stdout
    assert "| macro over scenes |" in table and "| warm | warm |" in table


def test_ceiling_begins_at_the_bayes_auc_and_falls(log_folder):
    done = run("ceiling", "--out", log_folder, "--json")
    assert done.returncode == 0, done.stderr
    lines = json.loads(done.stdout)["left_out"]
    truth = json.loads((log_folder / "truth" / "bayes.json").read_text())["splits"]
    for split in ("val", "test"):
        found = [line["splits"][split]["auc"] for line in lines]
        assert found[0] == truth[split]["overall"]["auc"]
        assert found == sorted(found, reverse=True) and found[0] - found[-1] > 0.05
        # A pair's liking is large for mini-programs alone, the match everywhere else.
        by_scene = {title: np.diff([line["splits"][split]["scenes"][title] for line in lines]) for title in "23"}
        assert by_scene["2"][1:3].sum() < -0.05 < -0.01 < by_scene["3"][1:3].sum()
        assert by_scene["3"][3] < -0.05
    assert run("ceiling", "--out", log_folder).stdout.count("| ") > 30


def test_ceiling_refuses_a_log_that_it_would_draw_otherwise(tmp_path):
    out = make(tmp_path / "log", 2_000)
    path = out / "truth" / "parameters.json"
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    refused = run("ceiling", "--out", out)
    assert refused.returncode == 2 and "was drawn from other parameters or by other versions" in refused.stderr


# --- promises about bytes and folders


def test_the_same_bytes_from_any_number_of_threads(tmp_path):
    for threads in (1, 2, 5):
        make(tmp_path / str(threads), 20_000, seed=3, threads=threads)
    assert_same_bytes(tmp_path / "1", tmp_path / "2")
    assert_same_bytes(tmp_path / "1", tmp_path / "5")
    make(tmp_path / "other", 20_000, seed=4)
    parts = [(tmp_path / folder / "antm2c_10m_part0.csv").read_bytes() for folder in ("1", "other")]
    assert parts[0] != parts[1]


def test_blocks_are_cut_by_size_and_cover_the_log_once():
    blocks = events.plan(9_000_000, 2)
    assert max(b.n_rows for b in blocks) <= parameters.BLOCK_ROWS and any(b.n_slices > 1 for b in blocks)
    assert sum(b.n_rows for b in blocks) == 9_000_000
    for part in range(2):
        at = 1
        for block in (b for b in blocks if b.part == part):
            assert block.first_row == at
            at += block.n_rows


def test_killed_half_way_leaves_nothing_and_a_rerun_is_whole(tmp_path):
    out = tmp_path / "killed" / "simulated"
    request = ("--events", 400_000, "--parts", 2, "--out")
    child = subprocess.Popen(
        [sys.executable, "-m", "warehouse.simulate", *map(str, request), str(out), "--threads", "1"]
    )
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size > 1_000_000 for p in out.parent.glob(".simulated.partial-*/*.csv")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not out.exists() and len(list(out.parent.iterdir())) == 1
    assert run(*request, out).returncode == 0
    assert [p.name for p in out.parent.iterdir()] == ["simulated"]  # the leftovers went
    undisturbed = make(tmp_path / "undisturbed", 400_000, parts=2)
    assert_same_bytes(out, undisturbed)


def test_what_is_there_already(tmp_path):
    out = tmp_path / "simulated"
    make(out, 2_000)
    stamp = (out / "truth" / "DONE").stat().st_mtime_ns
    again = run("--events", 2_000, "--out", out)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    assert (out / "truth" / "DONE").stat().st_mtime_ns == stamp
    other = run("--events", 2_000, "--seed", 8, "--out", out)
    assert other.returncode == 2 and "seed is 7 there, 8 was asked for" in other.stderr and "--force" in other.stderr
    assert (out / "truth" / "DONE").stat().st_mtime_ns == stamp
    assert run("--events", 2_000, "--seed", 8, "--out", out, "--force").returncode == 0
    assert json.loads((out / "truth" / "parameters.json").read_text())["request"]["seed"] == 8
    (out / "antm2c_10m_part1.csv").write_text("cut short")
    broken = run("--events", 2_000, "--seed", 8, "--out", out)
    assert broken.returncode == 2 and "antm2c_10m_part1.csv has 9 bytes" in broken.stderr
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("words")
    refused = run("--events", 2_000, "--out", precious, "--force")
    assert refused.returncode == 2 and files_of(precious) == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--events", 10), "--events: expected 1000 to"),
        (("--parts", 0), "--parts: expected 1 to 20"),
        (("--seed", -1), "--seed: expected 0 to"),
        (("--threads", 1000), "--threads: expected 0 to 256"),
        (("--format", "orc"), "--format"),
        (("bayes", "--out", "nowhere"), "no truth/DONE"),
        (("ceiling", "--out", "nowhere"), "no truth/DONE"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, words):
    done = run(*arguments, *(() if "--out" in arguments else ("--out", tmp_path / "x")))
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(output.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    with pytest.raises(output.SimulationError, match="Free some"):
        output.simulate(output.Request(2_000, 7, 3, "csv"), tmp_path / "x", threads=1)
    assert list(tmp_path.iterdir()) == []


def test_a_tiny_log_has_its_shape(tmp_path):
    out = tmp_path / "tiny"
    make(out, 2_000, parts=1)
    rows = duckdb.sql(f"select * from read_csv('{out}/*.csv', all_varchar = true, header = true)").fetchall()
    assert len(rows) == 2_000
    column = {name: [row[k] for row in rows] for k, name in enumerate(parameters.COLUMNS)}
    assert set(column["scene"]) == set("01234") and set(column["label"]) == {"0", "1"}
    assert len({t[:10] for t in column["log_time"]}) == 31
    assert 40 <= len(set(column["user_id"])) <= 60 and 40 <= len(set(column["item_id"])) <= 150


def test_parameters_are_all_written_and_all_documented(log_folder):
    written = json.loads((log_folder / "truth" / "parameters.json").read_text())
    assert written["parameters"] == P.as_json() and written["request"]["seed"] == 7
    page = (Path(__file__).parents[2] / "docs" / "simulated-log.md").read_text()
    assert [name for name in parameters.field_names() if f"`{name}`" not in page] == []
    assert [k for k in range(27) if f"| {k} |" not in page] == []
