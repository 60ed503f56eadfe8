import io

from rich.console import Console

from gateway.demo.impaired import WayCounts
from gateway.demo.picture import Picture, Side, Verdict
from gateway.demo.view import LiveView, PlainView, draw, summary, view_for
from gateway.sdk import LinkStats


def sides() -> list[Side]:
    link = LinkStats(packets_sent=100, packets_lost=5, packets_recovered=5)
    return [
        Side("alice", "quantum", "hello", "saved", 7, 3, 0, 51.0, link=link),
        Side("bob", "websocket", "hello", "offline", 7, 4, 2, way=WayCounts(9, 1, "bytes")),
    ]


def printed(thing: object) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(thing)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_the_picture_shows_both_texts_and_what_the_network_did() -> None:
    text = printed(draw(Picture(sides(), 3.0, 10.0, "both type", ["  1.0 s  a note"])))
    for words in ("alice over quantum", "bob over websocket", "51 ms", "1 stalls", "a note"):
        assert words in text
    assert "texts are equal" in text


def test_different_texts_are_said_to_be_apart() -> None:
    picture = Picture(sides())
    picture.sides[0].text = "other"
    assert "texts are apart" in printed(draw(picture))


def test_the_summary_says_how_it_ended() -> None:
    good = printed(summary(Verdict(True, 7, 2.0, tuple(sides()), "hello")))
    assert "CONVERGED" in good
    assert "5 of 100 packets sent were lost, 5 recovered" in good
    bad = printed(summary(Verdict(False, 7, 2.0, tuple(sides()), "", "the two texts differ")))
    assert "NOT CONVERGED: the two texts differ" in bad


def test_without_a_terminal_there_are_plain_lines() -> None:
    output = io.StringIO()
    console = Console(file=output, width=40)
    view = view_for(console)
    assert isinstance(view, PlainView)
    with view:
        picture = Picture(sides(), 1.0, 10.0, "both type", ["a note"])
        view.show(picture)
        view.show(picture)
    assert output.getvalue().count("a note") == 1
    assert "\x1b" not in output.getvalue()


def test_a_terminal_gets_the_live_view() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=50)
    view = view_for(console)
    assert isinstance(view, LiveView)
    with view:
        view.show(Picture(sides()))
