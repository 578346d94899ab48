import threading
from contextlib import closing

import pytest

from storage.ahead import ahead


def test_results_come_in_order_and_each_item_once():
    made = []

    def double(i):
        made.append(i)
        return 2 * i

    assert list(ahead(double, range(20), depth=3)) == [2 * i for i in range(20)]
    assert made == list(range(20))
    assert list(ahead(double, [], depth=3)) == []


def test_several_threads_work_at_once_and_results_keep_their_order():
    both = threading.Barrier(2)

    def make(i):
        both.wait(10)  # broken, unless another is made at the same time
        return i

    assert list(ahead(make, range(20), depth=3, threads=2)) == list(range(20))


def test_the_next_ones_are_made_while_one_is_used():
    third = threading.Event()

    def make(i):
        if i == 2:
            third.set()
        return i

    with closing(ahead(make, range(9), depth=2)) as results:
        assert next(results) == 0
        assert third.wait(10)  # nobody has asked for more yet


def test_items_are_taken_only_so_far_ahead():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    with closing(ahead(lambda i: i, items(), depth=2)) as results:
        next(results)
        assert taken == [0, 1, 2]


def test_an_error_is_raised_at_its_turn_and_nothing_is_made_after_it():
    made, seen = [], []

    def make(i):
        made.append(i)
        if i == 3:
            raise ValueError("three")
        return i

    with pytest.raises(ValueError, match="three"), closing(ahead(make, range(50), depth=2)) as results:
        for one in results:
            seen.append(one)
    assert seen == [0, 1, 2] and max(made) <= 5


def test_an_interrupt_leaves_no_thread_behind():
    before, made = threading.active_count(), []
    with pytest.raises(KeyboardInterrupt), closing(ahead(made.append, range(1000), depth=2)) as results:
        for _ in results:
            raise KeyboardInterrupt
    assert threading.active_count() == before and len(made) <= 4
