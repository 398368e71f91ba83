"""JSON values out of a stream: cut wherever it is cut, bounded in size and depth."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zethane.adapters.ovsdb.framing import MAX_DEPTH, OvsdbError, Splitter, parse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


@given(st.lists(OBJECTS, max_size=5), st.sampled_from(["", " ", "\r\n\t "]), st.data())
def test_messages_are_found_however_the_stream_is_cut(objects: list[dict[str, Any]], between: str, data: Any) -> None:
    stream = between.join(json.dumps(one, ensure_ascii=data.draw(st.booleans())) for one in objects).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter = Splitter()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += splitter.feed(stream[start:end])
    assert [parse(message) for message in found] == objects


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(stream: bytes) -> None:
    splitter = Splitter(100)
    with suppress(OvsdbError):
        for message in splitter.feed(stream):
            parse(message)


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b'{"a": "' + b"x" * 200, "more than 100 bytes"),
        (b"{" + b" " * 200, "more than 100 bytes"),
        (b'{"a":' * (MAX_DEPTH + 1), "nested too deep"),
        (b"{" + b"[" * MAX_DEPTH, "nested too deep"),
        (b"[]", "else than JSON objects"),
        (b"7", "else than JSON objects"),
        (b"HTTP/1.1 400 Bad Request", "else than JSON objects"),
    ],
)
def test_what_goes_over_a_bound_is_an_error(stream: bytes, why: str) -> None:
    splitter = Splitter(100)
    with pytest.raises(OvsdbError, match=why):
        splitter.feed(stream)


def test_brackets_and_quotes_in_strings_are_text() -> None:
    text = b'{"a": "}{][\\"\\\\"}'
    assert Splitter().feed(text + text) == [text, text]


@pytest.mark.parametrize(
    "text", [b"{]", b'{"a":1,}', b'{"a": NaN1}', b'{"a": "\xff"}', b"{" + b'"a":' + b"9" * 5000 + b"}"]
)
def test_what_is_no_json_is_an_error(text: bytes) -> None:
    (message,) = Splitter().feed(text)
    with pytest.raises(OvsdbError):
        parse(message)
