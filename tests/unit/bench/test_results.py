"""From outcomes to numbers, bars and the report."""

import json
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest

from bench import measures
from bench.link.path import Path
from bench.machine import describe
from bench.outcome import Outcome, flow
from bench.peers.registry import PEERS
from bench.report import BEGIN, END, markdown, number, write_document
from bench.results import ResultsError, as_result, judge, merge, ratio
from bench.runner import Failure, Row
from bench.scenarios import SCENARIOS, Bar

LINK = Path(delay=0.025, rate=100e6, queue=625_000, loss=0.05)
COUNTS = {
    "packets": 1000,
    "bytes": 1_300_000,
    "policed": 0,
    "queue_full": 20,
    "delivered_bytes": 1_000_000,
    "queue": {"p50_us": 5000.0},
}


def outcome(**changes: Any) -> Outcome:
    made = Outcome(
        "quantum",
        1,
        {"bytes": 10_000_000, "ok": True},
        1.0,
        (1200, 1500),
        LINK,
        sent=COUNTS,
        answered=COUNTS,
    )
    return replace(made, **changes)


def test_goodput_is_a_share_of_what_the_link_can_carry_of_these_packets() -> None:
    found = measures.goodput([outcome()])
    assert found["Mbit/s"] == pytest.approx(80)
    assert found["% of link"] == pytest.approx(80 / (100 * 0.95 * 0.8) * 100)


def test_the_kept_round_trip_is_the_base_and_both_median_waits() -> None:
    assert measures.queue([outcome()])["x base"] == pytest.approx((50 + 10) / 50)


def test_a_message_that_never_came_is_as_late_as_was_waited_for_it() -> None:
    came = {"delays_us": [25_000.0] * 98, "missing": 2, "ok": True}
    found = measures.realtime([outcome(client=came)])
    assert found["p50 x"] == pytest.approx(1)
    assert found["p99 x"] == pytest.approx(200)
    assert found["packets/message"] == pytest.approx(20)
    assert found["forward alone"] == pytest.approx(10)


def test_own_loss_is_what_queue_and_policer_dropped() -> None:
    policed = outcome(forward=Path(delay=0.025, police=20e6, bucket=25_000))
    assert measures.policer([policed])["own loss %"] == pytest.approx(2)


def test_an_answer_is_compared_with_the_median_one_without_loss() -> None:
    one = outcome(client={"times_us": [60_000.0, 120_000.0]}, baseline={"times_us": [60_000.0] * 3})
    assert measures.response([one])["p99 x"] == pytest.approx(2)


def test_the_busiest_flow_of_the_port_is_the_peers() -> None:
    flows = [
        {"protocol": 17, "source": 9, "target": 5, "packets": 3},
        {"protocol": 17, "source": 8, "target": 5, "packets": 30},
        {"protocol": 6, "source": 8, "target": 5, "packets": 300},
    ]
    assert flow({"flows": flows}, "udp", 5, towards=True)["packets"] == 30
    assert flow({"flows": flows}, "udp", 5, towards=False) == {}


def test_a_link_that_was_late_or_dropped_packets_of_its_own_is_doubted() -> None:
    late = {"a": {"lateness": {"p99_us": 2000.0}, "overflow": 3}, "devices_dropped": 1}
    assert len(outcome(link=late).doubts()) == 3
    assert outcome(link=late, busy=0.99).doubts()[0] == "the processors were 99% busy"
    assert outcome(link={"a": {"lateness": {"p99_us": 50.0}}, "b": {}}).doubts() == []


def test_a_ratio_above_one_is_better_whichever_way_the_value_goes() -> None:
    assert ratio(6, 3, more_is_better=True) == 2
    assert ratio(50, 100, more_is_better=False) == 2


@pytest.mark.parametrize(
    ("bar", "met", "aimed"),
    [
        (Bar("v", 5, 10), True, False),
        (Bar("v", 7, 10), False, False),
        (Bar("v", 7, 6, at_most=True), True, True),
        (Bar("v", 2, 4, against="tls"), True, False),
        (Bar("v", 4, 4, against="tls"), False, False),
    ],
)
def test_a_bar_is_judged_by_the_median_or_the_ratio(bar: Bar, met: bool, aimed: bool) -> None:
    peers = {
        "quantum": {"values": {"v": {"median": 6.0}}},
        "tls": {"values": {"v": {"median": 2.0}}},
    }
    found = judge(bar, peers, more_is_better=True)
    assert (found["met"], found["aimed"]) == (met, aimed)


def test_a_bar_against_a_peer_that_was_not_measured_is_not_judged() -> None:
    peers = {"quantum": {"values": {"v": {"median": 6.0}}}}
    assert judge(Bar("v", 2, 4, against="quic-go"), peers, more_is_better=True) == {}


def result() -> dict[str, Any]:
    row = Row(SCENARIOS["goodput-5"])
    row.outcomes = {
        "quantum": [outcome(seed=n, client={"bytes": n * 1_000_000}) for n in (9, 10, 11)],
        "tcp-bbr": [outcome(peer="tcp-bbr", client={"bytes": 5_000_000})],
    }
    row.missing = {"kcp-go": "it is not built; python -m bench build"}
    row.failures = [Failure("tcp-bbr", 2, "it has ended")]
    return {
        "commands": ["python -m bench --only goodput-5"],
        "machine": describe(),
        "seconds": 60,
        "versions": {"Python": "3.11"},
        "rows": [as_result(row)],
    }


def test_the_report_has_ratio_median_spread_and_what_is_missing() -> None:
    text = markdown(result())
    assert "| 2.00 x |" in text
    assert "94.7 to 116" in text
    assert "Not measured, kcp-go: it is not built" in text
    assert "run 2 of tcp-bbr failed: it has ended" in text
    assert "python -m bench --only goodput-5" in text


def realtime_row() -> Row:
    row = Row(SCENARIOS["realtime"])
    few = {"delays_us": [25_000.0] * 99 + [50_000.0], "missing": 0}
    none = {"delays_us": [25_000.0] * 100, "missing": 0}
    row.outcomes = {"quantum": [outcome(client=few)] + [outcome(client=none)] * 5}
    return row


def test_a_pooled_percentile_is_of_all_samples_together() -> None:
    p99 = as_result(realtime_row())["peers"]["quantum"]["values"]["p99 x"]
    assert p99 == {"median": pytest.approx(1), "min": pytest.approx(1), "max": pytest.approx(2)}


def test_the_report_takes_its_place_and_leaves_the_rest(tmp_path: FilePath) -> None:
    document = tmp_path / "performance.md"
    document.write_text("# Performance\n\nbefore\n")
    write_document("first", document)
    document.write_text(document.read_text() + "\nafter\n")
    write_document("second", document)
    text = document.read_text()
    assert text == f"# Performance\n\nbefore\n\n{BEGIN}\n\nsecond\n{END}\n\nafter\n"


def test_a_later_file_replaces_rows_and_another_machine_is_refused(tmp_path: FilePath) -> None:
    first, second = result(), result()
    second["rows"][0]["seconds"] = 7.0
    second["commands"] = ["python -m bench --only wan"]
    for name, value in (("a.json", first), ("b.json", second)):
        (tmp_path / name).write_text(json.dumps(value))
    whole = merge([tmp_path / "a.json", tmp_path / "b.json"])
    assert [row["seconds"] for row in whole["rows"]] == [7.0]
    assert len(whole["commands"]) == 2
    second["machine"] |= {"kernel": "0.01"}
    (tmp_path / "b.json").write_text(json.dumps(second))
    with pytest.raises(ResultsError, match="different machines"):
        merge([tmp_path / "a.json", tmp_path / "b.json"])


def test_a_file_without_results_is_refused(tmp_path: FilePath) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"x\.json"):
        merge([tmp_path / "x.json"])


def test_pictures_are_drawn_the_same_again(tmp_path: FilePath) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra bench")
    from bench.plots import draw

    made = result()
    other = json.loads(json.dumps(made["rows"][0])) | {"name": "goodput-1", "loss": 0.01}
    made["rows"].append(other)
    made["rows"].append(as_result(realtime_row()))
    titles = [title for title, _ in draw(made, tmp_path / "a")]
    assert titles == [
        "Throughput against loss, 100 Mbit/s, 50 ms",
        "Delay of 64-byte messages at 60 Hz",
    ]
    draw(made, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert b"Quantum (asyncio)" in path.read_bytes()


def test_numbers_have_three_digits_that_count() -> None:
    assert [number(v) for v in (0, 0.123, 1.234, 12.34, 123.4, 12345.6)] == [
        "0", "0.12", "1.23", "12.3", "123", "12,346",
    ]  # fmt: skip


def test_every_bar_of_a_scenario_is_of_a_peer_or_stands_alone() -> None:
    for scenario in SCENARIOS.values():
        for bar in scenario.bars:
            assert not bar.against or bar.against in scenario.peers, scenario.name


def test_every_peer_has_the_name_it_is_registered_by() -> None:
    assert all(name == peer.name for name, peer in PEERS.items())
