"""The send buffer against sets of positions."""

from hypothesis import given
from hypothesis import strategies as st

from cython_ext.probe import InboxProbe, SendBufferProbe

steps = st.lists(
    st.tuples(
        st.sampled_from(("append", "send", "send", "ack", "lose")),
        st.integers(0, 400),
        st.integers(1, 80),
    ),
    max_size=80,
)


def byte_at(position: int) -> int:
    return position * 7 % 251


@given(steps)
def test_a_send_buffer_behaves_like_sets_of_positions(program: list[tuple[str, int, int]]) -> None:
    buffer = SendBufferProbe()
    end = sent = 0
    acked: set[int] = set()
    lost: set[int] = set()
    for name, at, length in program:
        if name == "append":
            buffer.append(bytes(byte_at(position) for position in range(end, end + length)))
            end += length
        elif name == "send":
            found = buffer.next(end)
            if lost:
                low = min(lost)
                high = next(p for p in range(low, end + 1) if p not in lost)
                assert found == (low, high)
            elif sent < end:
                assert found == (sent, end)
            else:
                assert found is None
            if found is not None:
                low, high = found[0], min(found[1], found[0] + length)
                assert buffer.read(low, high) == bytes(byte_at(p) for p in range(low, high))
                buffer.sent(low, high)
                lost -= set(range(low, high))
                sent = max(sent, high)
        elif at < sent:
            positions = set(range(at, min(at + length, sent)))
            low, high = at, min(at + length, sent)
            if name == "ack":
                before = next(p for p in range(end + 1) if p not in acked)
                acked |= positions
                lost -= positions
                after = next(p for p in range(end + 1) if p not in acked)
                assert buffer.acked(low, high) == (after > before)
            else:
                assert buffer.lost(low, high) == bool(positions - acked)
                lost |= positions - acked
        base = next(p for p in range(end + 1) if p not in acked)
        assert buffer.state() == (base, sent, end)


def test_nothing_new_leaves_above_the_limit_and_lost_bytes_do() -> None:
    buffer = SendBufferProbe()
    buffer.append(bytes(100))
    assert buffer.next(30) == (0, 30)
    buffer.sent(0, 30)
    assert buffer.next(30) is None
    buffer.lost(5, 9)
    assert buffer.next(0) == (5, 9)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=3_000)), max_size=80))
def test_an_inbox_is_a_queue(program: list[bytes | None]) -> None:
    box, model = InboxProbe(), list[bytes]()
    for record in program:
        if record is not None:
            box.push(record)
            model.append(record)
        elif model:
            assert box.pop() == model.pop(0)
        assert box.state() == (len(model), sum(map(len, model)))
    assert [box.pop() for _ in model] == model
