"""What security groups mean, evaluated one packet at a time over the rules as the Networking API has them.

Written from its documentation (Networking API v2: security groups and their rules) and sharing nothing with the import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

Object = Mapping[str, Any]

_NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}


def may(cloud: Object, source: str, target: str, protocol: int, port: int) -> bool:
    """Whether a packet that opens a connection between two addresses passes, at each port that has one of them.

    `cloud` has `ports` (`groups`, `addresses`) and `rules`. A port without a rule that fits drops the packet.
    """
    return all(
        _allowed(cloud, one, direction, peer, protocol, port)
        for address, peer, direction in ((source, target, "egress"), (target, source, "ingress"))
        for one in cloud["ports"]
        if address in one["addresses"]
    )


def _allowed(cloud: Object, one: Object, direction: str, peer: str, protocol: int, port: int) -> bool:
    return any(
        rule["group"] in one["groups"] and rule["direction"] == direction and _fits(cloud, rule, peer, protocol, port)
        for rule in cloud["rules"]
    )


def _fits(cloud: Object, rule: Object, peer: str, protocol: int, port: int) -> bool:
    version = ip_address(peer).version
    if rule["ethertype"] != f"IPv{version}":
        return False
    if rule["remote_group"] is not None:
        members: Sequence[Object] = [one for one in cloud["ports"] if rule["remote_group"] in one["groups"]]
        if not any(peer in one["addresses"] for one in members):
            return False
    elif rule["prefix"] is not None and ip_address(peer) not in ip_network(rule["prefix"]):
        return False
    if rule["protocol"] is None:
        return True
    if rule["protocol"] == "icmp":
        echo = {4: 8, 6: 128}[version]
        return protocol == {4: 1, 6: 58}[version] and rule["min"] in (None, echo)
    low = 0 if rule["min"] is None else rule["min"]
    high = 65535 if rule["max"] is None else rule["max"]
    return bool(protocol == _NUMBERS[rule["protocol"]] and low <= port <= high)
