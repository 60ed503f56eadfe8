"""UUIDv7: the layout of RFC 9562, strict growth whatever the clock does, and an honest parser."""

import datetime
import itertools
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cython_ext.clock import UNIX_NS
from quantum import guuid
from quantum.guuid import Generator

# The example of RFC 9562, appendix A.6: made on 2022-02-22 19:22:22 UTC.
RFC_TEXT = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
RFC_MS = 1645557742000


def clock(*readings_ms: int) -> Callable[[], int]:
    """Return a clock that reads these and then stands."""
    steps = itertools.chain(readings_ms, itertools.repeat(readings_ms[-1]))
    return lambda: next(steps) * 1_000_000


def test_the_example_of_the_rfc_is_read() -> None:
    id_ = guuid.parse(RFC_TEXT)
    assert guuid.unix_ms(id_) == RFC_MS
    assert guuid.text_of(id_) == RFC_TEXT
    assert guuid.parse(RFC_TEXT.upper().replace("-", "")) == id_


def test_an_id_carries_its_time_its_version_and_its_variant() -> None:
    made = uuid.UUID(bytes=Generator(os.urandom, clock(RFC_MS)).new())
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == RFC_MS


def test_the_bits_come_from_the_random_source_alone() -> None:
    def ones(count: int) -> bytes:
        return b"\xff" * count

    # The top bit of the counter stays clear, so that it has room to grow.
    assert Generator(ones, clock(1)).text() == "00000000-0001-77ff-bfff-ffffffffffff"
    # Growth carries from the lower into the upper part of the counter.
    generator = Generator(ones, clock(1))
    assert [generator.text() for _ in range(2)][1] == "00000000-0001-7800-8000-0000ffffffff"


@given(st.lists(st.integers(0, 2**64 // 10**6), min_size=1, max_size=50), st.integers(0, 99))
def test_ids_grow_strictly_whatever_the_clock_does(readings: list[int], seed: int) -> None:
    generator = Generator(random.Random(seed).randbytes, clock(*readings))
    ids = [generator.new() for _ in range(2 * len(readings))]
    assert all(a < b for a, b in itertools.pairwise(ids))
    highest = itertools.accumulate(readings, max)
    assert [guuid.unix_ms(i) for i in ids[: len(readings)]] == list(highest)


def test_text_and_bytes_come_from_one_sequence() -> None:
    generator = Generator(os.urandom, clock(5))
    first, second, third = generator.text(), generator.new(), generator.text()
    assert first < guuid.text_of(second) < third


def test_the_step_within_a_millisecond_is_random() -> None:
    generator = Generator(os.urandom, clock(5))
    ids = [int.from_bytes(generator.new()) for _ in range(200)]
    assert len({b - a for a, b in itertools.pairwise(ids)}) > 190


def test_a_hundred_thousand_ids_of_the_process_are_distinct_and_sorted() -> None:
    ids = [guuid.new() for _ in range(100_000)]
    assert ids == sorted(set(ids))
    assert guuid.uuid().bytes > ids[-1]


FORK = """
import os, time
time.time_ns = lambda: 10**18  # a clock that stands leaves all to randomness
from cython_ext.clock import UNIX_NS
from quantum import guuid
guuid.new()  # there is unused randomness now
child = os.fork()
os.write(1, guuid.text().encode() + b"\\n")  # in one piece: two processes share this pipe
if child:
    os.waitpid(child, 0)
"""


def test_a_forked_child_does_not_repeat_its_parent() -> None:
    # In a process of its own: forking is only sound while there is one thread.
    root = Path(guuid.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", FORK], cwd=root, capture_output=True, check=True)
    mine, theirs = done.stdout.split()
    assert mine != theirs


@given(st.uuids(version=4))
def test_other_versions_are_refused(other: uuid.UUID) -> None:
    with pytest.raises(ValueError, match="version 7"):
        guuid.parse(str(other))
    with pytest.raises(ValueError, match="version 7"):
        guuid.unix_ms(other.bytes)


@given(st.binary(min_size=16, max_size=16))
def test_formatting_agrees_with_the_standard_library(data: bytes) -> None:
    assert guuid.text_of(data) == str(uuid.UUID(bytes=data))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "017f22e2",
        RFC_TEXT[:-1] + "g",
        RFC_TEXT[:-1] + "١",  # a digit, but no ASCII one
        RFC_TEXT.replace("-", "_"),
        "0" + RFC_TEXT,
        RFC_TEXT[:8] + "0" + RFC_TEXT[9:],
        "-" * 36,
        "{" + RFC_TEXT[1:],
    ],
)
def test_what_is_no_uuid_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        guuid.parse(text)


def test_wrong_types_and_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="is text"):
        guuid.parse(b"x" * 36)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 bytes"):
        guuid.text_of(b"short")
    with pytest.raises(TypeError, match="random source"):
        Generator(lambda count: b"", clock(1)).new()


def test_a_clock_in_a_capsule_is_the_system_s() -> None:
    before = time.time_ns() // 1_000_000
    born = guuid.unix_ms(Generator(os.urandom, UNIX_NS).new())
    assert before <= born <= time.time_ns() // 1_000_000


def test_a_capsule_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="incorrect name"):
        Generator(os.urandom, datetime.datetime_CAPI)  # type: ignore[attr-defined]
