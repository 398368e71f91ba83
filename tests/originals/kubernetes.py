"""What NetworkPolicies mean, evaluated one packet at a time over the plain objects.

Written from the documentation of the API (Network Policies; API reference, networking.k8s.io/v1) and sharing nothing
with the import: slow, and hardly more than its sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

Object = Mapping[str, Any]


def may(objects: Sequence[Object], source: Object | str, target: Object | str, protocol: str, port: int) -> bool:
    """Whether a connection is let through: "both the egress policy on the source pod and the ingress policy on the
    destination pod need to allow the connection". Ends are pods, or addresses outside; one of them is a pod."""
    policies = [one for one in objects if one["kind"] == "NetworkPolicy"]
    namespaces = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Namespace"}
    leaves = isinstance(source, str) or _side(policies, namespaces, "Egress", source, target, protocol, port)
    enters = isinstance(target, str) or _side(policies, namespaces, "Ingress", target, source, protocol, port)
    return leaves and enters


def _side(
    policies: Iterable[Object],
    namespaces: Mapping[str, Object],
    kind: str,
    pod: Object,
    peer: Object | str,
    protocol: str,
    port: int,
) -> bool:
    """One direction: a pod that no policy selects for it is not isolated; otherwise one policy has to allow it."""
    selecting = [one for one in policies if _selects(one, pod) and kind in _types(one)]
    if not selecting:
        return True
    target = peer if kind == "Egress" else pod
    return any(
        _peers(rule.get("to" if kind == "Egress" else "from") or [], peer, one["metadata"]["namespace"], namespaces)
        and _ports(rule.get("ports") or [], target, protocol, port)
        for one in selecting
        for rule in one["spec"].get(kind.lower()) or []
    )


def _types(policy: Object) -> list[str]:
    """ "If no policyTypes are specified then by default Ingress will always be set and Egress will be set if the
    NetworkPolicy has any egress rules." """
    given = policy["spec"].get("policyTypes")
    return list(given) if given else ["Ingress", *(["Egress"] if policy["spec"].get("egress") else [])]


def _selects(policy: Object, pod: Object) -> bool:
    same = policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return bool(same and _fits(policy["spec"].get("podSelector") or {}, pod["metadata"].get("labels") or {}))


def _peers(peers: Sequence[Object], peer: Object | str, own: str, namespaces: Mapping[str, Object]) -> bool:
    """ "If this field is empty or missing, this rule matches all sources" (or destinations)."""
    return not peers or any(_peer(one, peer, own, namespaces) for one in peers)


def _peer(one: Object, peer: Object | str, own: str, namespaces: Mapping[str, Object]) -> bool:
    if "ipBlock" in one:
        return isinstance(peer, str) and _block(one["ipBlock"], peer)
    if isinstance(peer, str):
        return False
    namespace = peer["metadata"]["namespace"]
    if "namespaceSelector" in one:
        labels = {**(namespaces[namespace]["metadata"].get("labels") or {}), "kubernetes.io/metadata.name": namespace}
        if not _fits(one["namespaceSelector"], labels):
            return False
    elif namespace != own:
        return False
    return "podSelector" not in one or _fits(one["podSelector"], peer["metadata"].get("labels") or {})


def _block(block: Object, address: str) -> bool:
    def within(text: str) -> bool:
        return ip_address(address) in ip_network(text)

    return within(block["cidr"]) and not any(within(text) for text in block.get("except") or [])


def _ports(ports: Sequence[Object], target: Object | str, protocol: str, port: int) -> bool:
    """ "If this field is empty or missing, this rule matches all ports (traffic not restricted by port)." """
    return not ports or any(_port(one, target, protocol, port) for one in ports)


def _port(one: Object, target: Object | str, protocol: str, port: int) -> bool:
    if one.get("protocol", "TCP") != protocol:
        return False
    wanted = one.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return not isinstance(target, str) and any(
            given.get("name") == wanted and given.get("protocol", "TCP") == protocol and given["containerPort"] == port
            for container in target["spec"]["containers"]
            for given in container.get("ports") or []
        )
    return bool(wanted <= port <= one.get("endPort", wanted))


def _fits(selector: Object, labels: Mapping[str, str]) -> bool:
    """ "The result of matchLabels and matchExpressions are ANDed. An empty label selector matches all objects." """
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _expression(one, labels) for one in selector.get("matchExpressions") or []
    )


def _expression(one: Object, labels: Mapping[str, str]) -> bool:
    key = one["key"]
    return bool(
        {
            "In": key in labels and labels[key] in (one.get("values") or []),
            "NotIn": key not in labels or labels[key] not in (one.get("values") or []),
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[one["operator"]]
    )
