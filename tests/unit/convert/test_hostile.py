"""Whatever the files hold, an import ends with a policy or with an InputError, and its files load."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.clouds import clouds, port_list, rule_list
from strategies.clusters import clusters
from zethane.convert import Imported, import_kubernetes, import_openstack
from zethane.convert.objects import BOUNDS, trees
from zethane.errors import InputError

_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70000),
    st.floats(allow_nan=True),
    st.sampled_from(("", "*", "x\n# y", "a: b", "true", "0x1", "10.0.0.0/8", "::/0", "é\u202e", "a" * 300, "{", "'")),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"a": "b"}),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in _places(child, (*path, key)))]


@st.composite
def _damaged(draw: st.DrawFn, originals: st.SearchStrategy[Any]) -> str:
    """JSON with some of its values replaced by others; a list becomes a document for each entry."""
    value = json.loads(json.dumps(draw(originals)))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(_places(value)[1:] or [(0,)]))
        target = value
        for step in path:
            target = target[step]
        if isinstance(target, dict) and draw(st.booleans()):
            target[draw(st.sampled_from(("zzz", "from", "spec", "name", "a\nb")))] = target.pop(last)
        else:
            target[last] = draw(_VALUES)
    return "\n---\n".join(map(json.dumps, value)) if isinstance(value, list) else json.dumps(value)


def _import(convert: Callable[[dict[str, str]], Imported], text: str) -> None:
    try:
        imported = convert({"f.json": text})
    except InputError as error:
        refused = error.problems
    else:
        refused = ()
        assert_written(imported)
    assert all(str(problem).isprintable() for problem in refused)


def assert_written(imported: Imported) -> None:
    """There is something in it, and nothing of it disturbs a terminal."""
    assert len(imported.policy.segments) >= 1
    assert all(str(loss).isprintable() for loss in imported.losses)


@settings(max_examples=150, deadline=None)
@given(_damaged(clusters().map(lambda items: {"apiVersion": "v1", "kind": "List", "items": items})))
def test_damaged_clusters(text: str) -> None:
    """Kubernetes."""
    _import(import_kubernetes, text)


@settings(max_examples=150, deadline=None)
@given(_damaged(clouds().map(lambda cloud: [rule_list(cloud), port_list(cloud)])))
def test_damaged_clouds(text: str) -> None:
    """OpenStack."""
    _import(import_openstack, text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Both."""
    _import(import_kubernetes, text)
    _import(import_openstack, text)


@pytest.mark.parametrize(
    "text",
    ["[" * 40 + "]" * 40, "---\na: 1\n" * (BOUNDS.documents + 1), "x" * (BOUNDS.text + 1)],
    ids=["depth", "documents", "characters"],
)
def test_bounds(text: str) -> None:
    """What is deeper, longer or more than files are is refused."""
    with pytest.raises(InputError, match="expected at most"):
        trees(text, "f.yaml")
