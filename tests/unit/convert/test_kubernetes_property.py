"""An imported policy decides as the documentation of NetworkPolicy does, whatever the policies and pods are."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings

from originals.kubernetes import may
from originals.verdicts import Verdicts
from strategies.clusters import OUTSIDE, PORTS, clusters
from zethane.convert import import_kubernetes
from zethane.policy.check import membership_problems

_FLOWS = [(word, number, port) for word, number in {"TCP": 6, "UDP": 17, "SCTP": 132}.items() for port in PORTS]
_FLOWS += [("ICMP", 1, 0), ("GRE", 47, 0)]
"""Of other protocols no port is spoken of: they pass where traffic is not restricted by port."""


def _name(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


@settings(max_examples=150, deadline=None)
@given(clusters())
def test_verdicts_are_those_of_the_documentation(objects: list[dict[str, Any]]) -> None:
    """Between all pods, and to and from addresses outside, for every port at which something begins or ends."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    imported = import_kubernetes({"cluster.json": text})
    assert not imported.opens
    assert membership_problems(imported.policy, imported.directory.population()) == []
    verdicts = Verdicts(imported, "Pod")
    pods = [one for one in objects if one["kind"] == "Pod"]
    ends = [(pod, _name(pod)) for pod in pods]
    pairs = [(a, b) for a in ends for b in ends if a is not b]
    pairs += [(a, (address, address)) for a in ends for address in OUTSIDE]
    pairs += [((address, address), a) for a in ends for address in OUTSIDE]
    for (source, source_name), (target, target_name) in pairs:
        for protocol, number, port in _FLOWS:
            expected = may(objects, source, target, protocol, port)
            found = verdicts.may(source_name, target_name, number, port)
            assert found is expected, (source_name, target_name, protocol, port)
