import numpy as np
import pytest
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf_shrinkage

from embeddings import EmbeddingsError, Whitening

KINDS = ("pca", "zca")


def crowded(n=600, width=40, seed=0):
    """Vectors in a narrow cone, with very unequal variances, as encoders make them."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
    return (5 + rng.normal(size=(n, width)) * np.geomspace(1, 0.02, width) @ turn).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_covariance_is_the_identity_on_held_in_data(kind):
    X = crowded()
    out = Whitening(16, kind, shrinkage=0.0).fit(X).transform(X).astype(np.float64)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(out.T @ out / len(out), np.eye(16), atol=1e-4)


def test_both_kinds_give_the_same_distances():
    X = crowded()
    pca, zca = (Whitening(16, kind, shrinkage=0.0).fit(X).transform(X) for kind in KINDS)
    np.testing.assert_allclose(pca @ pca.T, zca @ zca.T, atol=2e-3)
    assert np.abs(pca - zca).max() > 0.1


def test_zca_with_every_dimension_is_plain_zca():
    X = crowded(width=10).astype(np.float64)
    centred = X - X.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(X))
    plain = centred @ (axes / np.sqrt(values)) @ axes.T
    np.testing.assert_allclose(Whitening(10, "zca", shrinkage=0.0).fit(X).transform(X), plain, atol=1e-4)


def test_zca_stays_nearest_to_the_original_coordinates():
    X = crowded(width=12).astype(np.float64)
    chosen = np.sort(np.argsort(-X.var(axis=0))[:6])
    original = (X - X.mean(axis=0))[:, chosen]
    zca = Whitening(6, "zca", shrinkage=0.0).fit(X).transform(X)
    rng = np.random.default_rng(1)
    turns = [np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(50)]
    assert all(((zca - original) ** 2).sum() <= ((zca @ turn - original) ** 2).sum() for turn in turns)


@pytest.mark.parametrize("kind", KINDS)
def test_shifting_and_scaling_the_input_changes_nothing(kind):
    X = crowded().astype(np.float64)
    same = Whitening(16, kind, shrinkage=0.0).fit(X).transform(X)
    for changed in (3 * X + 7, 1e-9 * X):
        other = Whitening(16, kind, shrinkage=0.0).fit(changed).transform(changed)
        np.testing.assert_allclose(other, same, atol=1e-4)


def test_rotating_the_input_keeps_distances():
    X = crowded().astype(np.float64)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(40, 40)))[0]
    a, b = (Whitening(16).fit(x).transform(x).astype(np.float64) for x in (X, X @ turn))
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-3)


def test_the_order_of_the_rows_changes_nothing():
    X, order = crowded(), np.random.default_rng(3).permutation(600)
    a = Whitening(16).fit(X, ids=[str(i) for i in range(600)])
    b = Whitening(16).fit(X[order], ids=[str(i) for i in order])
    assert a.list_hash_ == b.list_hash_
    np.testing.assert_allclose(a.transform(X), b.transform(X), atol=1e-5)


def test_it_spreads_unrelated_pairs():
    X = crowded(width=256)

    def mean_cosine(x):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return float((unit[:300] * unit[300:]).sum(axis=1).mean())

    assert mean_cosine(X) > 0.9
    assert abs(mean_cosine(Whitening(128).fit(X).transform(X))) < 0.02


def test_shrinkage_matters_where_texts_are_few():
    X = crowded(n=60)
    held_out = crowded(n=4000)

    def worst(shrinkage):
        return Whitening(32, shrinkage=shrinkage).fit(X).transform(held_out).astype(np.float64).var(axis=0).max()

    assert worst("auto") < worst(0.0)
    assert 0 < Whitening(32).fit(X).shrinkage_ < 1


@pytest.mark.parametrize(
    ("X", "says"),
    [
        (np.empty((0, 40)), "All 0 vectors are the same"),
        (np.zeros((300, 40)), "All 300 vectors are the same"),
        (np.ones((300, 40)), "All 300 vectors are the same"),
        (np.full((300, 40), 3.3, np.float32), "All 300 vectors are the same"),
        (np.tile(crowded(n=1), (300, 1)), "All 300 vectors are the same"),
        (10_000 + 1e-3 * crowded(), "All 600 vectors are the same"),
        (crowded(n=20), "span 19 dimensions, fewer than the 32"),
        (np.tile(crowded(n=20), (30, 1)), "span 19 dimensions"),
        (np.hstack([crowded(width=20)] * 2), "span 20 dimensions"),
        (np.where(np.eye(600, 40) > 0, np.nan, crowded()), "not finite"),
        (crowded(width=20), "Can't whiten 20 dimensions to 32"),
        (crowded()[0], "expects a matrix"),
    ],
)
def test_refuses_what_cannot_be_whitened(X, says):
    with pytest.raises(EmbeddingsError, match=says):
        Whitening(32, shrinkage=0.0).fit(X)


def test_refuses_a_text_that_occurs_twice():
    with pytest.raises(EmbeddingsError, match="distinct texts"):
        Whitening(8).fit(crowded(), ids=["same"] * 600)


def test_refuses_too_low_a_coverage_and_leaves_out_what_is_missing():
    X, found = crowded(), np.arange(600) < 500
    with pytest.raises(EmbeddingsError, match=r"Only 83\.3% of 600"):
        Whitening(8).fit(X, found=found)
    kept = Whitening(8, min_coverage=0.8).fit(np.where(found[:, None], X, 0), found=found)
    np.testing.assert_array_equal(kept.matrix_, Whitening(8).fit(X[:500]).matrix_)
    assert kept.n_fit_ == 500


@pytest.mark.parametrize("params", [{"kind": "cholesky"}, {"shrinkage": 2}, {"shrinkage": "some"}, {"n_components": 0}])
def test_refuses_wrong_parameters(params):
    with pytest.raises(EmbeddingsError, match="expected"):
        Whitening(**params).fit(crowded())


def test_saved_and_loaded_it_gives_the_same_bytes(tmp_path):
    X, ids = crowded(), [f"t{i}" for i in range(600)]
    fit = Whitening(16, "pca").fit(X, ids=ids)
    loaded = Whitening.load(fit.save(tmp_path / "w.safetensors", store="key"))
    np.testing.assert_array_equal(loaded.transform(X), fit.transform(X))
    assert loaded.get_params() == fit.get_params()
    assert (loaded.list_hash_, loaded.n_fit_, loaded.rank_) == (fit.list_hash_, 600, fit.rank_)
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    notes = dict.fromkeys("klmnopqrst", "a note")  # the library writes them in an order of chance
    files = {fit.save(tmp_path / f"{k}.safetensors", **notes).read_bytes() for k in range(5)}
    assert len(files) == 1
    for k in range(8):
        file = fit.save(tmp_path / "n.safetensors", note="n" * k).read_bytes()
        assert int.from_bytes(file[:8], "little") % 8 == 0, "the vectors begin at a multiple of eight bytes"
    assert Whitening.load(tmp_path / "0.safetensors").list_hash_ == fit.list_hash_


def test_a_truncated_file_is_named(tmp_path):
    path = Whitening(16).fit(crowded()).save(tmp_path / "w.safetensors")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(EmbeddingsError, match="no whitening file"):
        Whitening.load(path)


def test_other_vectors_are_refused():
    fit = Whitening(16).fit(crowded())
    with pytest.raises(EmbeddingsError, match="of 40 numbers"):
        fit.transform(crowded(width=41))
    with pytest.raises(EmbeddingsError, match="not been fit"):
        clone(fit).transform(crowded())


def test_shrinkage_is_the_share_of_the_mean_variance():
    X = crowded().astype(np.float64)
    covariance = np.cov(X.T, bias=True)
    shrunk = 0.7 * covariance + 0.3 * np.eye(40) * np.trace(covariance) / 40
    fit = Whitening(16, "pca", shrinkage=0.3).fit(X)
    np.testing.assert_allclose(fit.matrix_.T @ shrunk @ fit.matrix_, np.eye(16), atol=1e-9)
    np.testing.assert_allclose(fit.variances_, np.linalg.eigvalsh(shrunk)[::-1])
    assert fit.condition_ == pytest.approx(fit.variances_[0] / fit.variances_[15])
    assert fit.transform(X).dtype == np.float32
    assert Whitening(16).fit(X).shrinkage_ == pytest.approx(ledoit_wolf_shrinkage(X))


def test_refuses_variances_that_float32_cannot_carry():
    X = np.random.default_rng(0).normal(size=(40, 4)) * [1, 1, 1, 5e-6]
    with pytest.raises(EmbeddingsError, match="variances differ by a factor of"):
        Whitening(4, shrinkage=0.0).fit(X)
    assert Whitening(3, shrinkage=0.0).fit(X).condition_ < 10


def test_rank_is_told_from_rounding():
    """A direction that is float32's rounding of the others doesn't count; one a hundred times larger does."""
    X = np.random.default_rng(0).normal(size=(600, 4)) * [1, 0.01, 0.01, 1]
    assert [Whitening(3, shrinkage=0.0).fit(X * [1, 1, 1, tiny]).rank_ for tiny in (2e-6, 2e-4)] == [3, 4]
    assert Whitening(1).fit(X[:3]).rank_ == 2, "fewer texts than dimensions"


def test_what_is_just_allowed(tmp_path):
    X = crowded()
    assert (Whitening().n_components, Whitening().min_coverage) == (128, 0.9)
    assert Whitening(1, shrinkage=1.0).fit(X).matrix_.shape == (40, 1)
    assert Whitening(1).fit(crowded(n=2)).n_fit_ == 2
    assert Whitening(8, min_coverage=0.5).fit(X, found=[k % 2 for k in range(600)]).n_fit_ == 300
    with pytest.raises(EmbeddingsError, match=r"Only 0\.0% of 0 texts"):
        Whitening(8).fit(X[:0], found=[])
    assert Whitening(8).fit(X).save(tmp_path / "a" / "b" / "w.safetensors").exists()
