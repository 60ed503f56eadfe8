"""Hypothesis strategies for every envelope there can be, derived from the bodies themselves."""

from typing import Any

from hypothesis import strategies as st

from gateway import messages as m
from gateway.codec import MAX_INTEGER, Field, Shape, plan

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INTEGERS = st.integers(0, MAX_INTEGER)
FLOATS = st.floats(0, 1e15, allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e15, 1e15) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
_SCALARS = {
    Shape.BOOL: st.booleans(),
    Shape.BYTES: st.binary(max_size=40),
    Shape.FLOAT: FLOATS,
    Shape.INT: INTEGERS,
    Shape.INTS: st.lists(INTEGERS, max_size=4).map(tuple),
    Shape.JSON: JSON,
    Shape.MAP: st.dictionaries(TEXTS, TEXTS, max_size=4),
    Shape.STR: TEXTS,
    Shape.STRS: st.lists(TEXTS, max_size=4).map(tuple),
}


def parts(part: type[Any]) -> st.SearchStrategy[Any]:
    return st.builds(part, **{item.name: _values(item) for item in plan(part)})


def _values(item: Field) -> st.SearchStrategy[Any]:
    if item.shape is Shape.ONE:
        assert item.part is not None
        return st.none() | parts(item.part)
    if item.shape is Shape.MANY:
        assert item.part is not None
        return st.lists(parts(item.part), max_size=3).map(tuple)
    found = _SCALARS[item.shape]
    return found.filter(bool) if item.is_required else found


def envelopes(kind: m.Kind) -> st.SearchStrategy[m.Envelope]:
    head = {item.name: _values(item) for item in plan(m.Envelope)}
    return st.builds(m.Envelope, parts(m.BODIES[kind]), **head)


def minimal(kind: m.Kind) -> m.Body:
    """Return the smallest body of a kind that is legal."""
    body = m.BODIES[kind]
    values = {Shape.INT: 1, Shape.STR: "x", Shape.JSON: {"name": "x"}}
    return body(**{item.name: values[item.shape] for item in plan(body) if item.is_required})
