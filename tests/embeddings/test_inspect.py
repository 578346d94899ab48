import numpy as np
import pytest

from embeddings import EmbeddingsError, Recipe, Template, VectorStore, read_texts
from embeddings.inspect import draw, inspect

RECIPE = Recipe("tiny", "r1", "mean", Template(), True, 64, "fp32")
NAMES = [f"text {i}" for i in range(400)]


@pytest.fixture
def store_of(tmp_path):
    def make(texts, X):
        with VectorStore.writer(tmp_path / "v", RECIPE, X.shape[1]) as store:
            store.append(texts.ids[: len(X)], X.astype(np.float32))
        return VectorStore.open(store.path)

    return make


def crowded(n=400, width=24):
    return 4 + np.random.default_rng(0).normal(size=(n, width))


def test_crowding_before_and_after_and_a_picture(write_mart, store_of, tmp_path):
    texts = read_texts(write_mart([*NAMES, " "]))
    seen = inspect(texts, store_of(texts.take(~texts.empty), crowded()), n_components=16)
    assert seen.coverage == {"title": (400, 400)} and seen.n_empty == 1 and seen.warnings == []
    assert seen.crowding.before.mean() > 0.9 and abs(seen.crowding.after.mean()) < 0.01
    assert 20 < seen.effective_rank <= 24 and seen.whitening.n_fit_ == 400
    picture = draw(seen, tmp_path / "new" / "look.png")
    assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 10_000


def test_the_nearest_are_found_and_never_the_text_itself(write_mart, store_of):
    texts = read_texts(write_mart([(n, "title", i, 1, 1) for i, n in enumerate(NAMES)]))
    X = crowded()
    busiest = int(np.argmax(texts.n_rows))
    twin = (busiest + 7) % 400
    X[twin] = X[busiest] + 1e-3
    seen = inspect(texts, store_of(texts, X), n_titles=2, n_components=16)
    asked, near = seen.neighbours[0]
    assert asked == texts.texts[busiest] and near[0][0] == texts.texts[twin] and near[0][1] > 0.99
    assert all(name != asked for name, _ in near) and len(seen.neighbours) == 2


def test_whitening_is_fit_on_train_texts_only(write_mart, store_of):
    rows = [(name, "title", 2, 1, int(i % 2 == 0)) for i, name in enumerate(NAMES)]
    texts = read_texts(write_mart(rows))
    assert inspect(texts, store_of(texts, crowded()), n_components=8).whitening.n_fit_ == 200


def test_constants_are_warned_of(write_mart, store_of):
    texts = read_texts(write_mart(NAMES))
    seen = inspect(texts, store_of(texts, np.ones((400, 24))))
    said = "\n".join(seen.warnings)
    assert "24 of 24 dimensions are constant" in said and "all 400 vectors are the same" in said
    assert "no whitening: All 400 vectors are the same" in said


def test_low_coverage_and_duplicates_are_warned_of(write_mart, store_of):
    texts = read_texts(write_mart(NAMES))
    seen = inspect(texts, store_of(texts, np.repeat(crowded(100), 2, axis=0)), n_components=8)
    said = "\n".join(seen.warnings)
    assert "title: only 50.0% of 400 texts" in said and "100 of 200 vectors repeat" in said
    assert seen.n_duplicate_vectors == 100


def test_a_store_of_another_mart_is_said(write_mart, store_of):
    texts, others = (read_texts(write_mart(some, name=n)) for n, some in (("a", NAMES), ("b", ["quite", "other"])))
    with pytest.raises(EmbeddingsError, match="None of the 2 texts has a vector"):
        inspect(others, store_of(texts, crowded()))
