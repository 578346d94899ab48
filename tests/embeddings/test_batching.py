import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embeddings.batching import plan_batches

lengths = st.lists(st.integers(1, 600), max_size=80)


@given(lengths, st.integers(1, 1000), st.booleans())
def test_each_text_once_and_no_batch_too_large(sizes, max_tokens, same_length):
    batches = plan_batches(sizes, max_tokens=max_tokens, same_length=same_length)
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(sizes)))
    for batch in batches:
        taken = [sizes[i] for i in batch]
        assert len(taken) == 1 or len(taken) * max(taken) <= max_tokens
        assert not same_length or len(set(taken)) == 1


def test_the_longest_go_first():
    batches = plan_batches([3, 9, 5], max_tokens=9, same_length=False)
    assert [batch.tolist() for batch in batches] == [[1], [2], [0]]


def test_like_lengths_share_a_batch():
    assert [b.tolist() for b in plan_batches([4, 7, 4, 7], max_tokens=100, same_length=True)] == [[1, 3], [0, 2]]
