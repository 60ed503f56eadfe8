"""The link's model of a path, called in virtual time through a shared library."""

import ctypes
from dataclasses import dataclass

from bench.link.path import Path
from bench.link.wan import compile_link

PASSED, LOST, QUEUE_FULL, POLICED = range(4)
_SHARES = {"loss", "reorder", "duplicate"}
_ROOM = 512  # above sizeof(struct path)


class _Settings(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_double if name in _SHARES else ctypes.c_int64) for name in Path().settings()
    ]


class _Verdict(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("fate", "copies", "mark", "late", "queue_ns", "release_ns")
    ]


@dataclass(frozen=True)
class Verdict:
    """What became of one packet."""

    fate: int
    copies: int
    mark: int
    late: int
    queue_ns: int
    release_ns: int


class PathModel:
    """One direction of the link, without a link."""

    def __init__(self, path: Path, seed: int = 1) -> None:
        library = ctypes.CDLL(str(compile_link(("path.c",), "path.so", "-shared", "-fPIC")))
        self._admit = library.path_admit
        self._path = ctypes.create_string_buffer(_ROOM)
        library.path_start(self._path, ctypes.c_uint64(seed))
        library.path_set(self._path, ctypes.byref(_Settings(**path.settings())))

    def admit(self, now_ns: int, size: int = 1500) -> Verdict:
        """Let one packet arrive."""
        verdict = _Verdict()
        self._admit(self._path, ctypes.c_int64(now_ns), ctypes.c_int64(size), ctypes.byref(verdict))
        return Verdict(*(getattr(verdict, name) for name, _ in _Verdict._fields_))

    def fates(self, count: int) -> list[int]:
        """Return the fates of *count* packets, a millisecond apart."""
        return [self.admit(n * 1_000_000).fate for n in range(count)]
