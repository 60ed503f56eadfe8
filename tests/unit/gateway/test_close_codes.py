"""Close codes are one table."""

from gateway.close_codes import CloseCode, may_reconnect


def test_every_code_is_one_that_a_websocket_may_carry() -> None:
    standard = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
    assert all(code in standard or 4000 <= code <= 4999 for code in CloseCode)


def test_every_code_says_why_in_one_sentence() -> None:
    assert all(len(code.sentence.encode()) <= 120 for code in CloseCode)
    assert len({code.sentence for code in CloseCode}) == len(CloseCode)


def test_a_slow_client_may_come_back_and_a_revoked_one_may_not() -> None:
    assert may_reconnect(4005)
    assert not may_reconnect(4008)


def test_an_unknown_code_is_worth_another_try() -> None:
    assert may_reconnect(1006)
    assert may_reconnect(4999)
