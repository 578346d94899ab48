import os
import signal
import time

import numpy as np
import pytest

from embeddings import Encoder, VectorStore, read_texts
from embeddings.build import build, shards_of
from embeddings.finding import find_store
from tests.forkserver import of

TITLES = [f"film number {i} " + "ab" * (i % 23) for i in range(300)]


class Counting(Encoder):
    """Remembers every text that reached the encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self.__dict__.update(encoder.__dict__)
        self.seen: list[int] = []

    def encode(self, texts, **options):
        self.seen += [tuple(ids) for ids in texts.ids]
        return super().encode(texts, **options)

    def texts_seen(self) -> int:
        return len(self.seen)


def test_only_what_is_missing_is_encoded(write_mart, tiny, tmp_path):
    counting = Counting(tiny)
    first = build(read_texts(write_mart(TITLES[:200])), counting, tmp_path)
    assert (first.n_encoded, first.n_already_there, counting.texts_seen()) == (200, 0, 200)
    # A changed text is a new text_id: 100 more and one changed.
    changed = ["film with a new name", *TITLES[1:]]
    second = build(read_texts(write_mart(changed, name="later")), counting, tmp_path)
    assert (second.n_encoded, second.n_already_there, counting.texts_seen()) == (101, 199, 301)
    assert build(read_texts(write_mart(changed, name="later")), counting, tmp_path).n_encoded == 0
    assert counting.texts_seen() == 301


def test_the_fallback_never_touches_a_text_of_warm_rows(write_mart, tiny, tmp_path):
    rows = [(t, ("title", "entity", "user")[i % 3], 9, int(i % 4 == 0), 5) for i, t in enumerate(TITLES)]
    texts, counting = read_texts(write_mart(rows)), Counting(tiny)
    report = build(texts, counting, tmp_path, only="cold")
    assert counting.texts_seen() == report.n_encoded == 75 and report.n_warm_only == 225
    seen = set(counting.seen)
    for text, cold in zip(texts.texts, texts.n_cold_rows, strict=True):
        assert (tuple(tiny.tokenize([text]).ids[0]) in seen) == (cold > 0)
    tokens = tiny.tokenize(texts.texts).n_tokens
    saving = report.saving
    assert saving.tokens_encoded + saving.tokens_left_out == tokens and saving.n_left_out == 225
    assert saving.share_left_out == pytest.approx(0.75, abs=0.02)
    assert saving.seconds_saved == pytest.approx(report.seconds * saving.tokens_left_out / saving.tokens_encoded)


def test_every_text_of_the_mart_is_in_the_report(write_mart, tiny, tmp_path):
    rows = [
        ("a", "title", 1, 1, 1),
        ("b", "user", 1, 0, 1),
        ("", "title", 1, 1, 1),
        ("c", "title", 0, 0, 0),
        b"caf\xe9",
        "x" * 100_000,
    ]
    report = build(read_texts(write_mart(rows)), tiny, tmp_path)
    parts = (report.n_encoded, report.n_already_there, report.n_empty, report.n_warm_only, report.n_unused)
    assert parts == (3, 0, 1, 1, 1) and sum(parts) == report.n_texts
    assert (report.n_cut, report.n_repaired) == (1, 1)
    store = VectorStore.open(report.store)
    assert len(store) == 3


def test_what_is_left_after_a_kill_is_cut_at_the_same_places(write_mart):
    texts = read_texts(write_mart(TITLES))
    whole = [{texts.ids[i] for i in shard} for shard in shards_of(texts, max_texts=37)]
    done = set.union(*whole[:3])
    rest = texts.take(np.array([text_id not in done for text_id in texts.ids]))
    assert [{rest.ids[i] for i in shard} for shard in shards_of(rest, max_texts=37)] == whole[3:]


def test_progress_reports_every_text_once(write_mart, tiny, tmp_path):
    told, totals = [], []
    build(
        read_texts(write_mart(TITLES)),
        tiny,
        tmp_path,
        shard_texts=64,
        started=lambda *total: totals.append(total),
        progress=lambda n, characters: told.append((n, characters)),
    )
    assert totals == [(300, sum(map(len, TITLES)))]
    assert sum(n for n, _ in told) == 300
    assert sum(c for _, c in told) == pytest.approx(totals[0][1], rel=0.02)


def running_build(marts, folder, store):
    command = ["embeddings", "build", f"--marts={marts}", f"--encoder={folder}", "--dtype=fp32"]
    command += [f"--store={store}", "--shard-texts=10", "--threads=1"]
    return of("embeddings").running(*command, cwd=store.parent)


def test_kill_minus_nine_then_the_same_command_finishes(write_mart, tiny_folder, tiny, tmp_path):
    marts = write_mart(TITLES)
    # The uninterrupted build, for comparison.
    texts = read_texts(marts)
    whole = VectorStore.open(build(texts, tiny, tmp_path / "whole", shard_texts=10).store)

    with running_build(marts, tiny_folder, tmp_path / "killed") as process:
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "killed").glob("*/shards/*.safetensors"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*/shards/*.safetensors")}
    assert len(finished) >= 3

    with running_build(marts, tiny_folder, tmp_path / "killed") as again:
        pass
    assert again.code == 0, again.said
    for path, written in finished.items():
        assert path.stat().st_mtime_ns == written  # not computed again
    resumed = find_store(tmp_path / "killed", whole.path.name)
    assert resumed.check() == [] and len(resumed) == 300
    for one, other in zip(resumed.shards, whole.shards, strict=True):
        assert one.sha256 == other.sha256  # interrupted or not: the same bytes


def test_ctrl_c_keeps_finished_shards_and_says_how_to_go_on(write_mart, tiny_folder, tmp_path):
    many = [f"film number {i} " + "ab" * (i % 23) for i in range(20_000)]  # far more than until the third shard is seen
    with running_build(write_mart(many), tiny_folder, tmp_path) as process:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("*/shards/*.safetensors"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGINT)
    assert process.code == 130, process.said
    assert "the same command carries on" in process.said and "Traceback" not in process.said
    (manifest,) = tmp_path.glob("*/manifest.json")
    store = VectorStore.open(manifest.parent)
    assert 30 <= len(store) < len(many) and store.check() == []


def test_a_failed_write_ends_the_build(write_mart, tiny, tmp_path, monkeypatch):
    """Shards are written by a thread."""
    append, written = VectorStore.append, []

    def full(store, ids, vectors):
        written.append(len(ids))
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        return append(store, ids, vectors)

    monkeypatch.setattr(VectorStore, "append", full)
    with pytest.raises(OSError, match="No space left"):
        build(read_texts(write_mart(TITLES)), tiny, tmp_path, shard_texts=50)
    assert written == [50, 50]


def test_a_second_build_on_the_same_store_is_told_who_is_at_work(write_mart, tiny_folder, tiny, tmp_path):
    writer, marts = VectorStore.writer(tmp_path, tiny.recipe, tiny.dim), write_mart(TITLES)
    with writer, running_build(marts, tiny_folder, tmp_path) as process:
        pass
    assert process.code == 2
    assert f"process {os.getpid()}" in process.said and "Traceback" not in process.said
