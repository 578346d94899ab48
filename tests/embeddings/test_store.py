import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from embeddings import EmbeddingsError, Recipe, Template, VectorStore
from embeddings.catalogue import file_sha256
from embeddings.finding import find_store, stores

RECIPE = Recipe("tiny", "r1", "mean", Template(), True, 64, "fp32")


def vectors(n, seed=0, dim=8):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def ids(start, stop):
    """64-bit integers, ascending; half of them are negative."""
    return [(i - 15) * 2**59 + i for i in range(start, stop)]


def digits(number):
    return number.to_bytes(8, "big", signed=True).hex()


@pytest.fixture
def filled(tmp_path):
    """A store of three shards, ten texts each."""
    with VectorStore.writer(tmp_path, RECIPE, 8) as store:
        for shard in range(3):
            store.append(ids(10 * shard, 10 * shard + 10), vectors(10, shard))
    return store.path


def test_what_was_appended_is_read_back_in_the_order_asked(filled):
    store = VectorStore.open(filled)
    asked = [*ids(25, 27), 7, *ids(3, 4), *ids(25, 26)]
    X, found = store.load(asked)
    assert found.tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(X[[0, 1, 4]], vectors(10, 2)[[5, 6, 5]])
    np.testing.assert_array_equal(X[3], vectors(10, 0)[3])
    assert not X[2].any()
    assert len(store) == 30 and store.text_ids() == ids(0, 30)
    again, found_again = store.load(np.array(asked))
    np.testing.assert_array_equal(again, X)
    np.testing.assert_array_equal(found_again, found)


def test_vectors_are_mapped_not_read(filled):
    store = VectorStore.open(filled)
    assert all(
        isinstance(store._map(shard)[1].base, np.memmap) or isinstance(store._map(shard)[1], np.memmap)
        for shard in store.shards
    )


def test_the_manifest_says_what_the_vectors_are(filled):
    manifest = json.loads((filled / "manifest.json").read_text())
    assert Recipe.from_dict(manifest["recipe"]) == RECIPE
    assert (manifest["n_texts"], manifest["dim"], len(manifest["shards"])) == (30, 8, 3)
    for shard in manifest["shards"]:
        assert file_sha256(filled / "shards" / shard["file"]) == shard["sha256"]


def test_hex_digits_are_the_integer_of_their_bits(filled):
    store = VectorStore.open(filled)
    X, found = store.load([digits(i) for i in ids(0, 30)])
    assert found.all()
    np.testing.assert_array_equal(X, store.load(ids(0, 30))[0])


def test_a_store_of_format_1_is_read_and_continued(tmp_path):
    """Its shards hold ids as text: 16 hex digits each, as the marts of earlier versions had them."""
    folder = tmp_path / RECIPE.key
    (folder / "shards").mkdir(parents=True)
    names = np.array([digits(i).encode() for i in ids(0, 10)])
    aside = folder / "shards" / "aside"
    save_file({"ids": names.view(np.uint8).reshape(10, 16), "vectors": vectors(10)}, aside)
    name = f"000001-{file_sha256(aside)}.safetensors"
    n_bytes = aside.rename(folder / "shards" / name).stat().st_size
    shard = {"file": name, "sha256": name[7:-12], "n_texts": 10, "n_bytes": n_bytes}
    manifest = {"format": 1, "recipe": RECIPE.as_dict(), "dim": 8, "n_texts": 10, "shards": [shard]}
    (folder / "manifest.json").write_text(json.dumps(manifest))

    np.testing.assert_array_equal(VectorStore.open(folder).load(ids(0, 10))[0], vectors(10))
    with VectorStore.writer(tmp_path, RECIPE, 8) as store:
        with pytest.raises(EmbeddingsError, match="already have a vector"):
            store.append(ids(9, 11), vectors(2, 1))
        store.append(ids(10, 20), vectors(10, 1))
    store = VectorStore.open(folder)
    assert json.loads((folder / "manifest.json").read_text())["format"] == 2
    assert store.check() == [] and store.text_ids() == ids(0, 20)
    np.testing.assert_array_equal(store.load(ids(0, 20))[0], np.concatenate([vectors(10), vectors(10, 1)]))
    with VectorStore.writer(tmp_path, RECIPE, 8) as store:
        assert store.drop(ids(5, 15)) == 10
    np.testing.assert_array_equal(
        VectorStore.open(folder).load(ids(5, 15))[0], np.concatenate([vectors(10)[5:], vectors(10, 1)[:5]])
    )


def test_a_store_of_an_unknown_format_is_refused(filled):
    manifest = json.loads((filled / "manifest.json").read_text())
    (filled / "manifest.json").write_text(json.dumps(manifest | {"format": 3}))
    with pytest.raises(EmbeddingsError, match="has format 3, this version reads 1 and 2"):
        VectorStore.open(filled)


@pytest.mark.parametrize("wrong", [1.5, 2**63, None, ""])
def test_what_is_no_id_is_refused(filled, wrong):
    with pytest.raises(EmbeddingsError, match="neither a 64-bit integer nor a text"):
        VectorStore.open(filled).has([*ids(0, 2), wrong])


def test_names_stand_for_ids(tmp_path):
    with VectorStore.writer(tmp_path, RECIPE, 8) as store:
        store.append(["a", "bcd"], vectors(2))
        store.append(["a much longer id, ü"], vectors(1, 1))
        assert store.has(["a", "bcd", "a much longer id, ü", "a much", "bc"]).tolist() == [
            True,
            True,
            True,
            False,
            False,
        ]


def test_append_only(filled):
    with VectorStore.writer(filled.parent, RECIPE, 8) as store:
        for bad_ids, bad in [
            (ids(29, 31), vectors(2)),
            ([7, 7], vectors(2)),
            ([7], vectors(1, dim=9)),
            ([7], np.full((1, 8), np.nan, np.float32)),
        ]:
            with pytest.raises(EmbeddingsError):
                store.append(bad_ids, bad)
    assert len(VectorStore.open(filled)) == 30


class Killed(BaseException):
    """Stands for kill -9: no code above the file system may clean up after it."""


def test_killed_at_any_step_nothing_finished_is_lost(tmp_path, monkeypatch):
    """Stop the writer before every single rename and flush in turn; each time the next run carries on."""
    real_replace, real_fsync = Path.replace, os.fsync
    step = 0
    while True:
        root, done = tmp_path / str(step), 0
        calls = iter(range(1000))

        def die(real, *args, calls=calls, step=step):
            if next(calls) == step:
                raise Killed
            return real(*args)

        monkeypatch.setattr(Path, "replace", lambda self, to, die=die: die(real_replace, self, to))
        monkeypatch.setattr(os, "fsync", lambda opened, die=die: die(real_fsync, opened))
        try:
            with VectorStore.writer(root, RECIPE, 8) as store:
                for shard in range(2):
                    store.append(ids(10 * shard, 10 * shard + 10), vectors(10, shard))
                    done += 1
        except Killed:
            pass
        else:
            break
        monkeypatch.undo()
        complete = {path.name: path.stat().st_mtime_ns for path in root.glob("*/shards/*.safetensors")}
        with VectorStore.writer(root, RECIPE, 8) as store:
            assert len(store) == 10 * len(complete) >= 10 * done
            for shard in range(2):
                if not store.has(ids(10 * shard, 10 * shard + 10)).any():
                    store.append(ids(10 * shard, 10 * shard + 10), vectors(10, shard))
        X, found = VectorStore.open(store.path).load(ids(0, 20))
        assert found.all()
        np.testing.assert_array_equal(X, np.concatenate([vectors(10, 0), vectors(10, 1)]))
        after = {path.name: path.stat().st_mtime_ns for path in (store.path / "shards").iterdir()}
        assert complete.items() <= after.items() and len(after) == 2
        step += 1
    assert step == 15  # flush, rename, flush of the folder: three times for the manifest, twice for a shard


def test_leftovers_that_are_not_shards_are_cleared_away(filled):
    (filled / "shards" / ".writing").write_bytes(b"half")
    whole = sorted((filled / "shards").glob("*.safetensors"))[0]
    (filled / "shards" / whole.name.replace("000001-", "000009-0")).write_bytes(whole.read_bytes())
    with VectorStore.writer(filled.parent, RECIPE, 8) as store:
        assert len(store) == 30
    assert len(list((filled / "shards").iterdir())) == 3


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_check_finds_damage_and_repairs_it(filled, damage):
    path = sorted((filled / "shards").iterdir())[1]
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-40])
    else:
        content[-1] ^= 1
        path.write_bytes(content)
    problems = VectorStore.open(filled).check()
    assert len(problems) == 1 and path.name in problems[0]
    if damage != "flipped":
        with pytest.raises(EmbeddingsError, match="embeddings check --repair"):
            VectorStore.open(filled).load(ids(0, 30))
    with VectorStore.writer(filled.parent, RECIPE, 8) as store:
        store.check(repair=True)
        assert store.has(ids(0, 30)).tolist() == [True] * 10 + [False] * 10 + [True] * 10
        store.append(ids(10, 20), vectors(10, 1))
    assert VectorStore.open(filled).check() == []


def test_drop_keeps_what_is_used(filled):
    with VectorStore.writer(filled.parent, RECIPE, 8) as store:
        untouched = store.shards[0]
        assert store.drop({*ids(0, 15), 7}) == 15
        assert store.drop({*ids(0, 15)}) == 0
    store = VectorStore.open(filled)
    assert store.shards[0] == untouched and len(store.shards) == 2
    X, found = store.load(ids(0, 30))
    assert found.tolist() == [True] * 15 + [False] * 15
    np.testing.assert_array_equal(X[10:15], vectors(10, 1)[:5])
    assert store.check() == []
    assert len(list((filled / "shards").iterdir())) == 2


def test_two_writers_at_once_say_who_holds_it(filled):
    with (
        VectorStore.writer(filled.parent, RECIPE, 8),
        pytest.raises(EmbeddingsError, match=r"being written by another run: process \d+ on .*Wait for it"),
        VectorStore.writer(filled.parent, RECIPE, 8),
    ):
        pass
    with VectorStore.writer(filled.parent, RECIPE, 8):
        pass  # and it is free again


def test_find_store_names_what_is_there(filled):
    root = filled.parent
    assert find_store(root, "tiny").path == find_store(root, filled.name).path == filled
    with pytest.raises(EmbeddingsError, match=f"No vectors of 'e5-small'.*{filled.name}"):
        find_store(root, "e5-small")
    with VectorStore.writer(root, Recipe("tiny", "r2", "mean", Template(), True, 64, "fp32"), 8):
        pass
    assert len(stores(root)) == 2
    with pytest.raises(EmbeddingsError, match="has 2 stores"):
        find_store(root, "tiny")


def test_no_store_says_how_to_make_one(tmp_path):
    with pytest.raises(EmbeddingsError, match="embeddings build"):
        VectorStore.open(tmp_path)
