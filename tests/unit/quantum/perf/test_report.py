"""The table: ratios first, and always "times better"."""

from quantum.perf.bench import Plan, Result
from quantum.perf.report import as_json, markdown, rows

PLAN = Plan(peers=["tcp", "tls"], measures=["bulk", "requests"])
RESULTS = [
    Result("tcp", "bulk", 10, [4e9, 1e9, 3e9], [{}, {}, {}]),
    Result("tls", "bulk", 10, [1.5e9], [{}]),
    Result("tcp", "requests", 10, [50.0], [{"p99_us": 100.0}]),
    Result("tls", "requests", 10, [150.0], [{"p99_us": 120.0}]),
]


def test_ratios_come_first_and_say_how_many_times_better() -> None:
    header, body = rows(PLAN, RESULTS)
    assert header == ["", "tcp : tls", "tcp", "tls", "unit"]
    assert body == [
        ["one stream, bulk", "2.00 x", "3.00", "1.50", "Gbit/s"],
        ["64-byte request and answer, p50", "3.00 x", "50.0", "150", "us"],
        ["the same, p99", "1.20 x", "100", "120", "us"],
    ]


def test_the_table_is_markdown_that_lines_up() -> None:
    lines = markdown(*rows(PLAN, RESULTS)).splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == set("|-: ")


def test_the_file_holds_every_run() -> None:
    written = as_json(PLAN, RESULTS)
    assert written["results"][0]["values"] == [4.0, 1.0, 3.0]
    assert written["results"][0]["median"] == 3.0
    assert written["plan"]["peers"] == ["tcp", "tls"]
    assert written["machine"]["cores"] >= 1
