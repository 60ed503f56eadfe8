"""The framing for byte streams, and the plan that codecs follow."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import DecodeError, FrameDecoder, Shape, frame, plan
from gateway.errors import Code


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.integers(1, 7))
def test_frames_come_back_whole_however_the_stream_is_cut(frames: list[bytes], step: int) -> None:
    stream = b"".join(map(frame, frames))
    decoder = FrameDecoder(64)
    found = []
    for start in range(0, len(stream), step):
        found += decoder.feed(stream[start : start + step])
    assert found == frames
    assert decoder.buffered_bytes == 0


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(DecodeError, match="length 0"):
        FrameDecoder().feed(bytes(4))


def test_a_frame_above_the_limit_is_refused_before_it_is_held() -> None:
    decoder = FrameDecoder(100)
    assert decoder.feed(frame(b"x" * 100)) == [b"x" * 100]
    with pytest.raises(DecodeError, match="above the limit of 100") as caught:
        decoder.feed((101).to_bytes(4, "big"))
    assert caught.value.code is Code.TOO_LARGE


def test_an_annotation_without_a_shape_is_a_programming_error() -> None:
    @dataclass
    class Odd:
        when: set[int]

    with pytest.raises(TypeError, match="no codec shape"):
        plan(Odd)


def test_a_field_without_default_is_required() -> None:
    @dataclass
    class Part:
        name: str
        size: int = 0

    assert [(i.name, i.shape, i.is_required) for i in plan(Part)] == [
        ("name", Shape.STR, True),
        ("size", Shape.INT, False),
    ]
