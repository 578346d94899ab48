from __future__ import annotations

import numpy as np
import pytest

from trainer.training.shuffle import WHOLE, epoch_order

BLOCK, WINDOW = 1 << 12, 1 << 18  # rows


@pytest.mark.parametrize("n_rows", [1, 4095, 4096, 5000, WINDOW + 1, 3 * WINDOW + 77])
@pytest.mark.parametrize("whole", [0, WHOLE])
def test_each_row_comes_once(n_rows: int, whole: int) -> None:
    order = epoch_order(n_rows, 1, 0, whole)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n_rows))


def test_seed_and_epoch_decide_the_order() -> None:
    n = 5 * BLOCK
    orders = [epoch_order(n, seed, epoch, whole) for seed in (1, 2) for epoch in (0, 1) for whole in (0, WHOLE)]
    assert len({order.tobytes() for order in orders}) == len(orders)
    assert epoch_order(n, 2, 1, 0).tobytes() == orders[-2].tobytes()


def test_a_small_log_is_shuffled_as_a_whole() -> None:
    expected = np.random.default_rng([3, 4]).permutation(5000)
    np.testing.assert_array_equal(epoch_order(5000, 3, 4), expected)
    np.testing.assert_array_equal(epoch_order(5000, 3, 4, whole=5000), expected)


def test_a_large_log_is_read_a_window_at_a_time_and_yet_mixed() -> None:
    n_rows = 8 * WINDOW
    windows = epoch_order(n_rows, 1, 0, whole=0).reshape(-1, WINDOW)
    for window in windows:
        assert len(np.unique(window // BLOCK)) == WINDOW // BLOCK  # whole blocks: 64 stretches of pages
        for batch in window[: 4 * 4096].reshape(4, 4096):
            assert len(np.unique(batch // BLOCK)) == WINDOW // BLOCK  # from as many moments of the log
            assert abs(np.corrcoef(np.arange(4096), batch)[0, 1]) < 0.06
        # The moments are spread over the log: a window's mean position is that of 64 independent draws.
        assert abs(window.mean() / n_rows - 0.5) < 5 * np.sqrt(1 / 12 / 64)
