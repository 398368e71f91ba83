"""Whatever the files hold, an import ends with a policy or with an InputError, and its files load."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.clouds import clouds, port_list, rule_list
from strategies.clusters import clusters
from zethane.convert import Imported, budget, import_kubernetes, import_openstack, imported
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
            target[last] = deepcopy(draw(_VALUES))  # it may be damaged itself, and is drawn again
    return "\n---\n".join(map(json.dumps, value)) if isinstance(value, list) else json.dumps(value)


def _import(convert: Callable[[dict[str, str]], Imported], text: str) -> None:
    try:
        made = convert({"f.json": text})
    except InputError as error:
        refused = error.problems
    else:
        refused = ()
        assert_written(made)
    assert all(str(problem).isprintable() for problem in refused)


def assert_written(made: Imported) -> None:
    """There is something in it, and nothing of it disturbs a terminal."""
    assert len(made.policy.segments) >= 1
    assert all(str(loss).isprintable() for loss in made.losses)


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


def _cluster(pods: int, policies: int) -> str:
    """Every pod a class of its own."""
    version = "networking.k8s.io/v1"
    items: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{number}", "labels": {"a": f"v{number}"}}}
        for number in range(pods)
    ]
    items += [
        {
            "apiVersion": version,
            "kind": "NetworkPolicy",
            "metadata": {"name": f"n{number}"},
            "spec": {"podSelector": {"matchLabels": {"a": f"v{number}"}}, "ingress": [{"from": [{"podSelector": {}}]}]},
        }
        for number in range(policies)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def test_more_classes_than_segments_are_refused_before_their_pairs_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A policy has so many segments, and no more."""
    monkeypatch.setattr(imported, "MAX_SEGMENTS", 20)
    assert len(import_kubernetes({"f.json": _cluster(20, 20)}).policy.segments) == 20
    with pytest.raises(InputError, match="would take 21 segments; expected at most 20: import it in parts"):
        import_kubernetes({"f.json": _cluster(21, 21)})


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Policies times pods, and rules times ports, may be more than anybody would wait for."""
    monkeypatch.setattr(budget, "MAX_STEPS", 2000)
    assert import_kubernetes({"f.json": _cluster(20, 5)}).workloads
    with pytest.raises(InputError, match="too many rules and workloads"):
        import_kubernetes({"f.json": _cluster(60, 60)})
    cloud = {
        "ports": [{"id": f"p{n}", "addresses": [f"10.0.0.{n}"], "groups": [f"g{n}"]} for n in range(1, 60)],
        "rules": [
            {
                "id": f"r{n}",
                "group": f"g{n}",
                "direction": "ingress",
                "ethertype": "IPv4",
                "protocol": None,
                "min": None,
                "max": None,
                "remote_group": None,
                "prefix": f"10.0.0.{n}/32",
            }
            for n in range(1, 60)
        ],
    }
    with pytest.raises(InputError, match="too many rules and workloads"):
        import_openstack({"r.json": json.dumps(rule_list(cloud)), "p.json": json.dumps(port_list(cloud))})


@pytest.mark.parametrize(
    "text",
    ["[" * 40 + "]" * 40, "---\na: 1\n" * (BOUNDS.documents + 1), "x" * (BOUNDS.text + 1)],
    ids=["depth", "documents", "characters"],
)
def test_bounds(text: str) -> None:
    """What is deeper, longer or more than files are is refused."""
    with pytest.raises(InputError, match="expected at most"):
        trees(text, "f.yaml")
