"""The replay window: edges that implementations got wrong, and a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cython_ext.core import Replay

FRESH, SEEN, OLD = 0, 1, 2
# 135 words of 64 bits; the word above them is slack (RFC 6479).
W = 135 * 64
TOP = (1 << 62) - 1

# In this order, each number is checked and, when it is fresh, committed.
EDGES = [
    (0, FRESH), (0, SEEN), (1, FRESH), (1, SEEN), (9, FRESH), (8, FRESH), (7, FRESH), (7, SEEN),
    (63, FRESH), (65, FRESH), (64, FRESH), (64, SEEN),
    (W, FRESH), (W - 1, FRESH), (W - 1, SEEN), (0, OLD), (2, FRESH), (2, SEEN),
    (W + 16, FRESH), (W + 16, SEEN), (3, OLD), (16, OLD), (17, FRESH), (17, SEEN),
    (4 * W, FRESH), (3 * W, OLD), (3 * W + 1, FRESH), (3 * W + 2, FRESH), (10, OLD),
    (4 * W + 1, FRESH), (3 * W + 1, OLD), (3 * W + 2, SEEN), (3 * W + 3, FRESH),
    (4 * W + 64, FRESH), (4 * W + 63, FRESH), (4 * W + 64, SEEN),
    (20 * W, FRESH), (19 * W, OLD), (19 * W + 1, FRESH), (20 * W - 1, FRESH), (19 * W + 1, SEEN),
    (TOP, FRESH), (TOP, SEEN), (TOP - W, OLD), (TOP - W + 1, FRESH), (TOP - 1, FRESH), (0, OLD),
]  # fmt: skip


def test_the_window_is_right_at_each_of_its_edges() -> None:
    window = Replay()
    for step, (number, expected) in enumerate(EDGES):
        assert window.check(number) == expected, (step, number)
        if expected == FRESH:
            window.commit(number)


@pytest.mark.parametrize("numbers", [range(1, 3 * W), range(3 * W, 2 * W, -1)])
def test_every_number_of_a_run_is_taken_once(numbers: range) -> None:
    window = Replay()
    for number in numbers:
        expected = FRESH if max(numbers[0] + 1, number + 1) - number <= W else OLD
        assert window.check(number) == expected
        if expected == FRESH:
            window.commit(number)
            assert window.check(number) == SEEN


def test_a_jump_over_the_whole_ring_forgets_everything_below() -> None:
    window = Replay()
    for number in range(0, W, 3):
        window.commit(number)
    window.commit(2 * W + 200)
    fresh = [n for n in range(W + 201, 2 * W + 200) if window.check(n) == FRESH]
    assert len(fresh) == W - 1


@given(
    st.lists(
        st.one_of(st.integers(0, 200), st.integers(W - 70, W + 70), st.integers(0, 4 * W)),
        max_size=300,
    )
)
def test_the_window_behaves_like_a_set_with_a_floor(numbers: list[int]) -> None:
    window, seen, highest = Replay(), set[int](), -1
    for number in numbers:
        known = SEEN if number in seen else FRESH
        expected = OLD if number <= highest - W else known
        assert window.check(number) == expected
        if expected == FRESH:
            window.commit(number)
            seen.add(number)
            highest = max(highest, number)
