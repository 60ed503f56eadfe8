"""Reading JSON text that a stranger wrote: every refusal is a `DecodeError` of one sentence.

It knows JSON's traps (depth, NaN, lone surrogates, huge numbers), and no envelope.
"""

import json
from math import isfinite
from typing import Any

from gateway.codec import MAX_DEPTH, DecodeError
from gateway.errors import Code


def parse_json(data: bytes, where: str) -> Any:
    """Return the JSON value in *data*: UTF-8, no NaN, no lone surrogate, at most 32 levels deep.

    *where* begins the sentence of a refusal. Raises `DecodeError` and nothing else.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(Code.MALFORMED, f"{where} is not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DecodeError(Code.MALFORMED, f"{where} is not JSON: {error.msg} ({place})") from None
    except RecursionError:
        raise _too_deep(where) from None
    except ValueError as error:  # a constant, or an integer of thousands of digits
        raise DecodeError(Code.MALFORMED, f"{where} is not JSON: {error}") from None
    _check(value, where, "\\ud" in text.lower(), 0)
    return value


def _check(value: Any, where: str, may_hold_surrogates: bool, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _too_deep(where)
    if isinstance(value, str):
        # Half a surrogate pair has no UTF-8 form, so no other codec and no store could carry it.
        if may_hold_surrogates and not _is_encodable(value):
            raise DecodeError(Code.MALFORMED, f"{where} holds half of a surrogate pair")
    elif isinstance(value, float):
        if not isfinite(value):
            raise DecodeError(Code.MALFORMED, f"{where} holds a number too large for a double")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, where, may_hold_surrogates, depth)
            _check(item, where, may_hold_surrogates, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, where, may_hold_surrogates, depth + 1)


def _too_deep(where: str) -> DecodeError:
    return DecodeError(Code.MALFORMED, f"{where} is nested deeper than {MAX_DEPTH} levels")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
