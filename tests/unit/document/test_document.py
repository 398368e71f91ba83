"""YAML to models: bounds, scalars, places, and nothing but InputError."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from zethane.document import Model, parse
from zethane.document import compose as composer
from zethane.document.compose import Bounds, compose, compose_all
from zethane.errors import InputError


class Leaf(Model):
    words: tuple[str, ...] = ()
    number: int = 0
    secret: SecretStr | None = None


class Tree(Model):
    leaves: dict[str, Leaf] = Field(default_factory=dict)
    either: str | tuple[str, ...] = ""


def problems(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, "f.yaml", Tree)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("yes", "yes"),
        ("off", "off"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("1_000", "1_000"),
        ("1.5e3", 1500.0),
        (".inf", float("inf")),
        ("true", True),
        ("~", None),
        ("", None),
        ("2001-01-01", "2001-01-01"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("!!float 1", 1.0),
        ("<<", "<<"),
        ("=", "="),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    """The core schema, and nothing of YAML 1.1."""
    found = compose(text, "f").value()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "f.yaml:2:1: key 'a' is already on line 1"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: unknown tag"),
        ("a: !!int x", "f.yaml:1:4: expected a value that fits its tag !!int"),
        ("a: !!set {x}", "f.yaml:1:4: unknown tag"),
        ("? [x]\n: 1", "f.yaml:1:3: expected a word as the key"),
        ("a: *b", "f.yaml:1:4: expected an anchor before its alias 'b'"),
        ("a: &b [*b]", "f.yaml:1:8: expected an anchor before its alias 'b'"),
        ("a\n---\nb", "f.yaml:2:1: expected a single document"),
        ("[" * 1000, "f.yaml:1:33: expected at most 32 levels of nesting"),
        ("a: " + "9" * 65, "f.yaml:1:4: expected a number of at most 64 characters"),
        ("a: [", "f.yaml:"),
        ("a: \x00", "f.yaml: no YAML: "),
        ("a: \x1b[2J: *", "f.yaml: no YAML: "),
        ("x\n\ud800", "f.yaml:2: expected Unicode text, found half of a surrogate pair"),
        ("", "f.yaml:1:1: expected keys and values"),
        ("leaves: {x: {nmber: 1}}", "f.yaml:1:14: leaves.x.nmber: unknown key 'nmber'; did you mean 'number'?"),
        ("leaves: {x: {number: '1'}}", "f.yaml:1:22: leaves.x.number: expected a whole number"),
        ("leaves: {x: {words: [a, 1]}}", "f.yaml:1:25: leaves.x.words[1]: expected text"),
        ("either: 1", "f.yaml:1:9: either: expected text; a number, true, false or null needs quotes to be text or "),
    ],
)
def test_what_is_wrong_is_pointed_at(text: str, message: str) -> None:
    """File, line, column, key, expectation."""
    assert problems(text).startswith(message)


@pytest.mark.parametrize(
    ("bound", "value", "text", "message"),
    [
        ("MAX_TEXT", 3, "abcd", "f.yaml: expected at most 3 characters"),
        ("MAX_NODES", 3, "[a, b, c]", "f.yaml:1:8: expected at most 3 values"),
        ("MAX_NODES", 8, "[&a [x, y], *a, *a]", "f.yaml:1:17: expected at most 8 values"),
        ("MAX_ALIASES", 1, "[&a x, *a, *a]", "f.yaml:1:12: expected at most 1 aliases"),
        ("MAX_DEPTH", 3, "[&a [[x]], [*a]]", "f.yaml:1:13: expected at most 3 levels of nesting"),
    ],
)
def test_bounds_hold(monkeypatch: pytest.MonkeyPatch, bound: str, value: int, text: str, message: str) -> None:
    """Size, values, aliases and depth, with what aliases repeat counted in."""
    monkeypatch.setattr(composer, bound, value)
    assert problems(text) == message


def test_aliases_that_multiply_are_stopped_early() -> None:
    """A billion laughs are a few thousand at most."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "expected at most" in problems("\n".join(lines))


def test_problems_never_hold_a_secret() -> None:
    """Neither the error, nor what it is chained to, nor a document's repr shows a value."""
    with pytest.raises(InputError) as caught:
        parse("leaves: {x: {secret: [hunter2], number: hunter2}}", "f.yaml", Tree)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "hunter2" not in repr(parse("leaves: {x: {secret: hunter2}}", "f.yaml", Tree))


def test_places_of_values_and_keys() -> None:
    """What is left out is where it would have been."""
    document = parse("leaves:\n  x: {words: [a, b]}\n", "f.yaml", Tree)
    assert document.place("leaves", "x", "words", 1) == (2, 18)
    assert document.place("leaves", "x", "words", key=True) == (2, 7)
    assert document.place("leaves", "x", "number") == (2, 6)
    assert str(document.problem("wrong", "leaves", "x", key=True)) == "f.yaml:2:3: leaves.x: wrong"
    assert document.where("leaves", "x", "words", 0).key == "leaves.x.words[0]"


def test_control_characters_of_a_key_do_not_reach_the_terminal() -> None:
    """A word from the file is escaped in messages."""
    assert "\x1b" not in problems('"\\e[31m": 1')


@given(st.text(max_size=300) | st.text("[]{}:,&*!|>-?#'\"%@` \n\tab01\\ux", max_size=80))
@example('a: "\\UFFFFFFFF"')
@example("%YAML 9.9\n--- a")
@example("\ufeffa: 1")
def test_any_text_is_a_model_or_an_input_error(text: str) -> None:
    """Nothing but InputError comes out of the parser."""
    try:
        document = parse(text, "f.yaml", Tree)
    except InputError as error:
        result: Any = error.problems
    else:
        result = isinstance(document.value, Tree)
    assert result


def test_documents_one_after_the_other() -> None:
    """As many as are asked for; an anchor ends with its document, and empty ones are there."""
    bounds = Bounds(text=1000, nodes=100, documents=3)
    assert [root.value() for root in compose_all("a: 1\n---\n---\n[b]\n", "f.yaml", bounds)] == [{"a": 1}, None, ["b"]]
    for text, message in (
        ("a: &x 1\n---\nb: *x\n", "f.yaml:3:4: expected an anchor before its alias 'x'"),
        ("1\n---\n2\n---\n3\n---\n4\n", "f.yaml:6:1: expected at most 3 documents"),
        ("[1,2]\n---\n[" + "3," * 98 + "]", "f.yaml:3:194: expected at most 100 values"),
    ):
        with pytest.raises(InputError) as caught:
            compose_all(text, "f.yaml", bounds)
        assert str(caught.value) == message
