"""A space made from the log: of train rows alone, the same bytes for the same rows, near what stands together."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from embeddings import EmbeddingsError, VectorStore, find_store, read_texts
from embeddings.cli import app
from embeddings.cooccurrence import build_space, fit_terms, terms_of
from embeddings.occurrences import Tally, read_occurrences
from storage.text_ids import text_id
from tests.trainer.toy_log import PER_TOPIC, TOPICS, make_log, write_log
from tests.trainer.toys import as_of_before


def made(marts: Path, root: Path, dim: int = 8) -> VectorStore:
    return VectorStore.open(build_space(read_texts(marts), read_occurrences(marts), root, dim=dim).store)


def shard_bytes(store: VectorStore) -> dict[str, bytes]:
    return {shard.file: (store.path / "shards" / shard.file).read_bytes() for shard in store.shards}


def entity(name: str) -> int:
    return text_id("entity", name)


def vectors(store: VectorStore, ids: list[int]) -> np.ndarray:
    found, there = store.load(ids)
    assert there.all()
    return found


def test_entities_of_a_topic_are_near_each_other_and_their_words(tmp_path: Path) -> None:
    store = made(write_log(make_log(), tmp_path / "marts"), tmp_path / "v")
    all_ids = [entity(f"t{t}e{e}") for t in range(TOPICS) for e in range(PER_TOPIC)]
    x = vectors(store, all_ids)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-6)
    cosines, topic = x @ x.T, np.repeat(np.arange(TOPICS), PER_TOPIC)
    same = topic[:, None] == topic
    off = ~np.eye(len(x), dtype=bool)
    assert cosines[same & off].mean() > 0.5 > 0.1 > cosines[~same].mean()
    title = vectors(store, [text_id("title", "word2 Nr2")])[0]
    near = [float((x[topic == t] @ title).mean()) for t in range(TOPICS)]
    items = sorted(set(make_log().rows["item_id"]))
    assert len(items) > 2 and int(np.argmax(near)) == 2


def test_counts_are_those_of_train_rows_read_one_by_one(tmp_path: Path) -> None:
    mart = make_log(400)
    found = read_occurrences(write_log(mart, tmp_path, files=2))
    rows = [dict(zip(mart.rows, values, strict=True)) for values in zip(*mart.rows.values(), strict=True)]
    expected: dict[str, Counter] = {"user": Counter(), "item": Counter(), "shown": Counter()}
    for row in (row for row in rows if row["split"] == "train"):
        of_item = [row["title_text_id"], *(row["item_entities"] or [])]
        expected["user"].update((row["user_id"], t) for t in row["user_entities"] or [])
        expected["item"].update((row["item_id"], t) for t in of_item)
        expected["shown"].update((row["user_id"], t) for t in of_item)
    for kind, counts in found.counts.items():
        names, coo = found.names["item" if kind == "item" else "user"], counts.tocoo()
        read = {(names[r], int(found.ids_T[c])): n for r, c, n in zip(coo.row, coo.col, coo.data, strict=True)}
        assert read == expected[kind]


def test_later_rows_change_no_byte(tmp_path: Path) -> None:
    plain, changed = make_log(), make_log()
    later = np.flatnonzero(~changed.split("train"))
    rng = np.random.default_rng(1)
    for name in ("item_entities", "user_entities", "title_text_id", "user_id", "item_id", "label"):
        values = [changed.rows[name][k] for k in rng.permutation(later)]
        for k, value in zip(later, values, strict=True):
            changed.rows[name][k] = value
    changed.rows["item_entities"][later[0]] = [entity("only later")]
    changed.texts += [("entity", "only later"), ("title", "word1 of later"), ("title", "unheard")]
    one = made(write_log(plain, tmp_path / "a"), tmp_path / "v1")
    other = made(write_log(changed, tmp_path / "b"), tmp_path / "v2")
    assert one.path.name == other.path.name
    mine, theirs = shard_bytes(one), shard_bytes(other)
    assert len(mine) == 1 and mine.items() <= theirs.items()
    # What only later rows hold: known by its words, or not at all.
    assert other.has(
        [entity("only later"), text_id("title", "word1 of later"), text_id("title", "unheard")]
    ).tolist() == [
        False,
        True,
        False,
    ]


def test_a_train_row_changes_the_store(tmp_path: Path) -> None:
    changed = make_log()
    k = int(np.flatnonzero(changed.split("train"))[5])
    changed.rows["item_entities"][k] = [entity("t0e0"), entity("t3e3")]
    one = made(write_log(make_log(), tmp_path / "a"), tmp_path / "v")
    other = made(write_log(changed, tmp_path / "b"), tmp_path / "v")
    assert one.path != other.path
    rows = read_occurrences(tmp_path / "b")
    assert find_store(tmp_path / "v", "cooccurrence", lambda: rows.fingerprint).path == other.path
    with pytest.raises(EmbeddingsError, match="has 2 stores"):
        find_store(tmp_path / "v", "cooccurrence")
    with pytest.raises(EmbeddingsError, match="made from other train rows"):
        find_store(tmp_path / "v", "cooccurrence", lambda: "another")


def test_the_same_rows_in_any_order_files_and_form_are_the_same_bytes(tmp_path: Path) -> None:
    stores = [
        made(write_log(make_log(), tmp_path / "a"), tmp_path / "v1"),
        made(write_log(make_log(), tmp_path / "b", shuffle=3, files=3), tmp_path / "v2"),
        made(write_log(as_of_before(make_log()), tmp_path / "c"), tmp_path / "v3"),
    ]
    assert len({json.dumps(sorted(shard_bytes(store))) for store in stores}) == 1
    assert len({store.path.name for store in stores}) == 1


def test_a_second_build_writes_nothing_and_a_new_title_alone_is_added(tmp_path: Path) -> None:
    mart = make_log()
    marts = write_log(mart, tmp_path / "marts")
    first = build_space(read_texts(marts), read_occurrences(marts), tmp_path / "v", dim=8)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "v").rglob("*") if path.is_file()}
    again = build_space(read_texts(marts), read_occurrences(marts), tmp_path / "v", dim=8)
    assert (again.n_made, again.n_already_there) == (0, first.n_made)
    kept = {path: path.stat().st_mtime_ns for path in before if not path.name.startswith(".lock")}
    assert kept.items() <= before.items()
    mart.texts.append(("title", "word3 new"))
    write_log(mart, marts)
    assert build_space(read_texts(marts), read_occurrences(marts), tmp_path / "v", dim=8).n_made == 1


def test_users_without_texts_of_their_own_are_known_by_what_they_were_shown(tmp_path: Path) -> None:
    mart = make_log()
    mart.set("user_entities", [[text_id("entity", f"job {u}")] for u in mart.rows["user_id"]])
    mart.texts += [("entity", f"job {u}") for u in sorted(set(mart.rows["user_id"]))]
    marts = write_log(mart, tmp_path / "marts")
    report = build_space(read_texts(marts), read_occurrences(marts), tmp_path / "v", dim=8)
    assert not report.shares_texts
    store = VectorStore.open(report.store)
    x = vectors(store, [entity("job u1"), entity("t0e0"), entity("t1e1"), entity("t2e2"), entity("t3e3")])
    assert np.abs(x[1:] @ x[0]).max() > 0.05, "profiles and items are in one space"


@pytest.mark.parametrize(
    ("text", "side", "terms"),
    [
        ("Jazz Voucher, 70 yuan", "title", ["jazz", "voucher", "70", "yuan"]),
        ("长沙火锅", "title", ["长沙", "沙火", "火锅"]),
        ("iPhone手机 new_one", "title", ["iphone", "手机", "new", "one"]),
        ("茶", "title", ["茶"]),
        ("Hot Pot", "entity", ["Hot Pot"]),
        ("a a a", "title", ["a"]),
        ("?!", "title", []),
    ],
)
def test_terms(text: str, side: str, terms: list[str]) -> None:
    assert terms_of(text, side) == terms


def without_texts(mart):
    for name in ("title_text_id", "item_entities", "user_entities"):
        mart.set(name, [None] * len(mart.rows[name]))


def one_entity(mart):
    without_texts(mart)
    mart.set("user_entities", [[entity("t0e0")]] * len(mart.rows["user_id"]))


def few_entities(mart):
    without_texts(mart)
    mart.set("item_entities", [[entity(f"t0e{k % 5}")] for k in range(len(mart.rows["user_id"]))])


def all_the_same(mart):
    without_texts(mart)
    mart.set("user_entities", [[entity(f"t0e{e}") for e in range(PER_TOPIC)]] * len(mart.rows["user_id"]))


def no_train(mart):
    mart.set("split", ["test"] * len(mart.rows["split"]))


def other_texts(mart):
    mart.texts = mart.texts[5:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_texts, "train rows hold 0 terms .* need more than 8 of both. Use an encoder"),
        (one_entity, "train rows hold 1 terms"),
        (few_entities, "train rows hold 5 terms .* Use --dim 4 or less"),
        (all_the_same, "span 1 dimensions, fewer than the 8"),
        (no_train, "has no train rows"),
        (other_texts, "5 of the .* texts that train rows hold aren't in the texts mart"),
    ],
)
def test_logs_that_make_no_space(tmp_path: Path, change, message: str) -> None:
    mart = make_log(600)
    change(mart)
    marts = write_log(mart, tmp_path / "marts")
    with pytest.raises(EmbeddingsError, match=message):
        made(marts, tmp_path / "v")
    assert not list((tmp_path / "v").glob("*/manifest.json"))


def test_marts_that_cannot_be_read(tmp_path: Path) -> None:
    marts = write_log(make_log(300), tmp_path / "marts")
    record = marts / "training_examples_v1" / "_build" / "build.json"
    kept = record.read_text()
    for text, message in (("{", "can't be read"), ("[]", "expected one build record"), ("", "found 0 records")):
        record.write_text(text)
        with pytest.raises(EmbeddingsError, match=message):
            read_occurrences(marts)
    record.write_text(kept.replace('"group": "user"', '"group": "context"'))
    with pytest.raises(EmbeddingsError, match="no column with role key and group user"):
        read_occurrences(marts)
    record.write_text(kept)
    shutil.rmtree(marts / "training_examples_v1")
    with pytest.raises(EmbeddingsError, match="holds no training_examples_v"):
        read_occurrences(marts)


def test_a_mart_that_is_published_anew_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marts = write_log(make_log(300), tmp_path / "marts")
    record = marts / "training_examples_v1" / "_build" / "build.json"
    from embeddings import occurrences

    read = occurrences._batches

    def replaced(*arguments):
        record.write_text(record.read_text().replace("invocation-1", "invocation-2"))
        return read(*arguments)

    monkeypatch.setattr(occurrences, "_batches", replaced)
    with pytest.raises(EmbeddingsError, match=r"published .* anew"):
        read_occurrences(marts)


def test_a_term_that_no_kept_dimension_knows_has_no_vector() -> None:
    from scipy import sparse

    strong = np.kron(np.ones((30, 1), int), np.eye(3, dtype=int))  # three terms, many documents each
    alone = np.zeros((1, 1), int) + 1
    counts = sparse.csr_array(sparse.block_diag([strong, alone]))
    x = fit_terms(counts, 3, 0)
    assert np.linalg.norm(x[:3], axis=1) == pytest.approx([1, 1, 1]) and (x[3] == 0).all()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    marts = write_log(make_log(), tmp_path / "marts")

    def run(*arguments: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["build", "--marts", str(marts), *map(str, arguments)])
        assert result.exit_code == code and "Traceback" not in result.output, result.output
        return " ".join(result.output.split())

    said = run("--encoder", "cooccurrence", "--dim", 8)
    assert "made now 80" in said and "60 users and 40 items of the train rows" in said and "whole user texts" in said
    facts = json.loads(
        CliRunner()
        .invoke(app, ["build", "--marts", str(marts), "--encoder", "cooccurrence", "--dim", "8", "--json"])
        .stdout
    )
    assert (facts["n_made"], facts["n_already_there"]) == (0, 80)
    recipe = json.loads((Path(facts["store"]) / "manifest.json").read_text())["recipe"]
    assert recipe["revision"] == read_occurrences(marts).fingerprint
    assert "truncated SVD to 8, seed 0" in recipe["steps"]
    assert "--pooling is for encoders that read texts" in run("--encoder", "cooccurrence", "--pooling", "cls", code=2)
    assert "--dim is for --encoder cooccurrence" in run("--encoder", "e5-small", "--dim", 8, code=2)
    assert "Use --dim" in run("--encoder", "cooccurrence", "--dim", 500, code=2)


def test_tallies_of_parts_add_up_to_that_of_all():
    """What processes that count some days each come to; users, texts and kinds of one part are unknown to the other."""
    rng = np.random.default_rng(0)
    whole, parts = Tally(), (Tally(), Tally())
    for k in range(6):
        kind, names = ("user", "item", "shown")[k % 3], [f"name {i}" for i in rng.permutation(9)]
        n_N = rng.integers(0, 4, 5)
        lists = (names, rng.integers(0, 9, 5), rng.integers(0, 20, n_N.sum()), n_N)
        whole.add(kind, *lists)
        parts[k % 2].add(kind, *lists)
    parts[0].add_all(parts[1])
    assert parts[0].total().fingerprint == whole.total().fingerprint
    parts[0].add_all(Tally())
    assert parts[0].total().fingerprint == whole.total().fingerprint
