"""The last line of a ping; its attempts meet real servers in tests/integration."""

from quantum.ping import summary


def test_the_summary_gives_the_spread_in_order() -> None:
    assert summary([3.0, 1.0, 2.0], 4).endswith("least / median / most 1.00 / 2.00 / 3.00 ms")


def test_the_summary_of_no_answer_says_what_to_check() -> None:
    assert summary([], 3).startswith("0 of 3 connected: check")
