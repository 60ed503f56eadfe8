"""Range sets against a plain set of integers."""

from hypothesis import given
from hypothesis import strategies as st

from cython_ext.core import Ranges

Operation = tuple[str, int, int]
operations = st.lists(
    st.tuples(
        st.sampled_from(("add", "add", "add", "remove", "below")),
        st.integers(0, 60),
        st.integers(0, 20),
    ),
    max_size=60,
)


def runs(numbers: set[int]) -> list[tuple[int, int]]:
    """Return the maximal half-open runs of *numbers*."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


@given(operations)
def test_a_range_set_behaves_like_a_set(steps: list[Operation]) -> None:
    ranges, model = Ranges(), set[int]()
    for name, low, length in steps:
        if name == "add":
            assert ranges.add(low, low + length)
            model |= set(range(low, low + length))
        elif name == "remove":
            assert ranges.remove(low, low + length)
            model -= set(range(low, low + length))
        else:
            ranges.remove_below(low)
            model = {number for number in model if number >= low}
        assert ranges.items() == runs(model)
    for number in range(85):
        assert (number in ranges) == (number in model)


@given(operations, st.integers(1, 6))
def test_a_limit_refuses_what_would_exceed_it_and_changes_nothing(
    steps: list[Operation], limit: int
) -> None:
    ranges, model = Ranges(limit), set[int]()
    for name, low, length in steps:
        wanted = set(model)
        if name == "remove":
            wanted -= set(range(low, low + length))
            done = ranges.remove(low, low + length)
        else:
            wanted |= set(range(low, low + length))
            done = ranges.add(low, low + length)
        assert done == (len(runs(wanted)) <= limit)
        if done:
            model = wanted
        assert ranges.items() == runs(model)


def test_numbers_at_the_end_of_the_packet_number_space_are_kept_apart() -> None:
    ranges = Ranges()
    top = (1 << 62) - 1
    ranges.add(top, top + 1)
    ranges.add(0, 1)
    ranges.add(top - 2, top - 1)
    assert ranges.items() == [(0, 1), (top - 2, top - 1), (top, top + 1)]
    ranges.add(top - 1, top)
    assert ranges.items() == [(0, 1), (top - 2, top + 1)]
