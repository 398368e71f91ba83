"""Hypothesis strategies for pods, namespaces and NetworkPolicies that have something to do with each other."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Object = dict[str, Any]

NAMESPACES = ("default", "dev", "prod")
KEYS = ("app", "tier")
VALUES = ("a", "b", "c")
PORTS = (79, 80, 81, 443, 8080)
PORT_NAMES = ("http", "dns")
PROTOCOLS = ("TCP", "UDP", "SCTP")
BLOCKS = (
    ("198.51.0.0/16", ("198.51.100.0/24", "198.51.7.0/24")),
    ("198.51.100.0/24", ("198.51.100.80/32",)),
    ("0.0.0.0/0", ("198.51.0.0/16", "203.0.113.0/24")),
    ("2001:db8::/32", ("2001:db8:ffff::/48",)),
    ("203.0.113.9/32", ()),
)
OUTSIDE = ("198.51.100.80", "198.51.100.7", "198.51.7.1", "203.0.113.9", "8.8.8.8", "2001:db8:ffff::1", "2001:db8::1")

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)
ports = st.sampled_from(PORTS)


@st.composite
def _expression(draw: st.DrawFn) -> Object:
    operator = draw(st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist")))
    one: Object = {"key": draw(st.sampled_from(KEYS)), "operator": operator}
    if operator in ("In", "NotIn"):
        one["values"] = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=2))
    return one


@st.composite
def selectors(draw: st.DrawFn) -> Object:
    """A LabelSelector."""
    one: Object = {}
    if draw(st.booleans()):
        one["matchLabels"] = draw(labels)
    if draw(st.booleans()):
        one["matchExpressions"] = draw(st.lists(_expression(), max_size=2))
    return one


@st.composite
def _block(draw: st.DrawFn) -> Object:
    cidr, exceptions = draw(st.sampled_from(BLOCKS))
    one: Object = {"cidr": cidr}
    if exceptions and draw(st.booleans()):
        one["except"] = draw(st.lists(st.sampled_from(exceptions), max_size=2, unique=True))
    return one


def _peers() -> st.SearchStrategy[Object]:
    return st.one_of(
        st.fixed_dictionaries({"podSelector": selectors()}),
        st.fixed_dictionaries({"namespaceSelector": selectors()}),
        st.fixed_dictionaries({"podSelector": selectors(), "namespaceSelector": selectors()}),
        st.fixed_dictionaries({"ipBlock": _block()}),
    )


@st.composite
def _port(draw: st.DrawFn) -> Object:
    one: Object = {}
    if draw(st.booleans()):
        one["protocol"] = draw(st.sampled_from(PROTOCOLS))
    kind = draw(st.sampled_from(("all", "number", "range", "name")))
    if kind == "name":
        one["port"] = draw(st.sampled_from(PORT_NAMES))
    elif kind != "all":
        one["port"] = draw(ports)
    if kind == "range":
        one["endPort"] = draw(st.integers(one["port"], 8081))
    return one


def _rules(word: str) -> st.SearchStrategy[list[Object]]:
    return st.lists(
        st.fixed_dictionaries(
            {}, optional={word: st.lists(_peers(), max_size=2), "ports": st.lists(_port(), max_size=2)}
        ),
        max_size=2,
    )


def _spec() -> st.SearchStrategy[Object]:
    types = st.lists(st.sampled_from(("Ingress", "Egress")), max_size=2, unique=True)
    return st.fixed_dictionaries(
        {"podSelector": selectors()},
        optional={"policyTypes": types, "ingress": _rules("from"), "egress": _rules("to")},
    )


def _container_ports() -> st.SearchStrategy[list[Object]]:
    one = st.fixed_dictionaries(
        {"name": st.sampled_from(PORT_NAMES), "containerPort": ports},
        optional={"protocol": st.sampled_from(PROTOCOLS)},
    )
    return st.lists(one, max_size=2, unique_by=lambda port: port["name"])


@st.composite
def clusters(draw: st.DrawFn) -> list[Object]:
    """Objects of a cluster: its namespaces, some pods, some policies."""
    objects: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": draw(labels)}}
        for name in NAMESPACES
    ]
    for number in range(draw(st.integers(2, 5))):
        metadata = {"name": f"pod-{number}", "namespace": draw(st.sampled_from(NAMESPACES)), "labels": draw(labels)}
        spec = {"containers": [{"name": "main", "ports": draw(_container_ports())}]}
        objects.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    for number in range(draw(st.integers(0, 4))):
        metadata = {"name": f"policy-{number}", "namespace": draw(st.sampled_from(NAMESPACES))}
        version = "networking.k8s.io/v1"
        objects.append({"apiVersion": version, "kind": "NetworkPolicy", "metadata": metadata, "spec": draw(_spec())})
    return objects
