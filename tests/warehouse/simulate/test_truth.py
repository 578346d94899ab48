"""The truth of the simulated log is calibrated, and only the intended parts carry it; the Bayes AUC."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.warehouse.simulate.making import PERIODS, N, P, make, run, truth_numbers
from warehouse.simulate import bayes, parameters
from warehouse.simulate.texts import entity_vocabulary
from warehouse.simulate.vocabulary import TOPICS
from warehouse.simulate.world import sizes


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
