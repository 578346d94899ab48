import numpy as np
import pytest

from embeddings import EmbeddingsError, SideMeans, read_texts
from embeddings.fallback import select

ROWS = [
    # text, side, rows, cold rows, train rows
    ("cold title", "title", 5, 2, 3),
    ("warm title", "title", 5, 0, 3),
    ("cold entity", "entity", 5, 1, 3),
    ("warm entity", "entity", 5, 0, 3),
    ("cold user", "user", 5, 4, 3),
    ("warm user", "user", 5, 0, 3),
    ("unused", "title", 0, 0, 0),
    ("  ", "title", 5, 5, 3),
]


@pytest.fixture
def texts(write_mart):
    return read_texts(write_mart(ROWS))


def names(texts, mask):
    return {texts.texts[i] for i in np.flatnonzero(mask)}


def test_only_cold_takes_no_warm_text_of_any_side(texts):
    chosen = select(texts, only="cold")
    assert names(texts, chosen.wanted) == {"cold title", "cold entity", "cold user"}
    assert names(texts, chosen.warm_only) == {"warm title", "warm entity", "warm user"}


def test_whole_user_texts_are_encoded_for_cold_rows_only(texts):
    assert names(texts, select(texts).wanted) == {"cold title", "warm title", "cold entity", "warm entity", "cold user"}
    assert "warm user" in names(texts, select(texts, user_texts="all").wanted)


def test_whole_user_texts_may_be_left_to_the_language_model(texts):
    chosen = select(texts, user_texts="none")
    assert names(texts, chosen.wanted) == {"cold title", "warm title", "cold entity", "warm entity"}
    assert names(texts, chosen.unasked) == {"cold user", "warm user"}


@pytest.mark.parametrize("only", ["all", "cold"])
def test_every_text_is_accounted_for_once(texts, only):
    chosen = select(texts, only=only)
    masks = np.array([chosen.wanted, chosen.empty, chosen.warm_only, chosen.unused, chosen.unasked])
    assert (masks.sum(axis=0) == 1).all()
    assert names(texts, chosen.empty) == {"  "} and names(texts, chosen.unused) == {"unused"}


def test_nothing_cold_is_said(write_mart):
    with pytest.raises(EmbeddingsError, match="2 only in rows of users and items with history"):
        select(read_texts(write_mart([("a", "title", 1, 0, 1), ("b", "user", 1, 0, 1)])), only="cold")


def test_unknown_choice_is_named(texts):
    with pytest.raises(EmbeddingsError, match="--only warm: expected all or cold"):
        select(texts, only="warm")


def test_a_missing_text_gets_the_mean_of_its_side():
    X = np.array([[1, 0], [3, 0], [0, 4], [0, 0], [0, 0], [9, 9]], np.float32)
    side = np.array(["title", "title", "user", "title", "user", "entity"], object)
    found = np.array([True, True, True, False, False, False])
    means = SideMeans.fit(X, found, side)
    filled = means.fill(X, found, side)
    np.testing.assert_array_equal(filled[:3], X[:3])
    np.testing.assert_array_equal(filled[3], [2, 0])
    np.testing.assert_array_equal(filled[4], [0, 4])
    np.testing.assert_allclose(filled[5], [4 / 3, 4 / 3])  # a side without any vector: the mean of all
    assert X[3].tolist() == [0, 0]  # the input is left alone


def test_no_vectors_no_mean():
    with pytest.raises(EmbeddingsError, match="embeddings build"):
        SideMeans.fit(np.zeros((2, 3)), np.zeros(2, bool), np.array(["a", "b"], object))
