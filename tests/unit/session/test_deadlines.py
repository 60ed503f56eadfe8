"""The heap of deadlines against a plain dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from session.deadlines import Deadlines

steps = st.lists(
    st.tuples(st.just("set"), st.sampled_from("abcde"), st.integers(0, 50))
    | st.tuples(st.just("discard"), st.sampled_from("abcde"), st.just(0))
    | st.tuples(st.just("pop"), st.just(""), st.integers(0, 50)),
    max_size=60,
)


@given(steps)
def test_it_falls_due_exactly_when_a_dictionary_says(script: list[tuple[str, str, int]]) -> None:
    deadlines, model = Deadlines(), dict[str, int]()
    for verb, key, at in script:
        if verb == "set":
            deadlines.set(key, at)
            model[key] = at
        elif verb == "discard":
            deadlines.discard(key)
            model.pop(key, None)
        else:
            due = {k for k, when in model.items() if when <= at}
            assert set(deadlines.pop_due(at, 100)) == due
            for gone in due:
                del model[gone]
        assert len(deadlines) == len(model)
        next_due = deadlines.next_due()
        assert not model or (next_due is not None and next_due <= min(model.values()))
        assert {k: deadlines.due_at(k) for k in "abcde" if k in deadlines} == model


def test_moving_a_deadline_later_costs_no_memory() -> None:
    deadlines = Deadlines()
    for at in range(1000):
        deadlines.set("a", at)
    assert len(deadlines._heap) == 1
    assert deadlines.pop_due(998, 10) == []
    assert deadlines.pop_due(999, 10) == ["a"]


def test_no_more_is_popped_than_asked_for() -> None:
    deadlines = Deadlines()
    for number in range(5):
        deadlines.set(str(number), number)
    assert deadlines.pop_due(10, 2) == ["0", "1"]
    assert deadlines.pop_due(10, 9) == ["2", "3", "4"]
