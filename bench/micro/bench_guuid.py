"""Measure an id of `quantum.guuid` as a Python program gets it, beside uuid_utils (Rust).

    python bench/micro/bench_guuid.py [--json FILE]

Nanoseconds per call, the loop's own cost taken off.
"""

import argparse
import json
import statistics
import sys
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from quantum import guuid

CALLS = 200_000


def main() -> None:
    """Measure and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="the median of so many (default 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the medians")
    options = parser.parse_args()
    what: dict[str, Callable[[], object]] = {"quantum": guuid.new}
    try:
        import uuid_utils
    except ImportError:
        print("uuid_utils is not installed: nothing to compare with")
    else:
        what["uuid_utils"] = uuid_utils.uuid7
    found = {name: _nanoseconds(call, options.runs) for name, call in what.items()}
    for name, ns in found.items():
        print(f"{name}: {ns:.0f} ns")
    if options.json is not None:
        options.json.write_text(json.dumps(found))


def _nanoseconds(call: Callable[[], object], runs: int) -> float:
    ids = {call() for _ in range(1000)}
    assert len(ids) == 1000, "an id came twice"
    timer = timeit.Timer("call()", globals={"call": call})
    empty = timeit.Timer("pass")
    times = [timer.timeit(CALLS) - empty.timeit(CALLS) for _ in range(runs)]
    return statistics.median(times) / CALLS * 1e9


if __name__ == "__main__":
    main()
