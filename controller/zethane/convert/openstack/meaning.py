"""What the rules of security groups say, as what each class of ports may open and be opened to.

A port gets what any rule of any of its groups allows, in each direction, and nothing besides (Networking API v2,
security groups). A rule is about one version of IP.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from zethane.convert.budget import Budget
from zethane.convert.loss import Ledger
from zethane.convert.openstack.cloud import Cloud, Member
from zethane.convert.openstack.schema import RuleRow
from zethane.convert.reach import Grant, Side
from zethane.convert.services import EVERYTHING, Services
from zethane.document import MAX_PROBLEMS, Place, quote
from zethane.errors import InputError, Problem
from zethane.net.prefix import Address, Prefix
from zethane.policy.service import Proto, Service

_PROTOCOLS: dict[str, Proto] = {
    "tcp": "tcp",
    "6": "tcp",
    "udp": "udp",
    "17": "udp",
    "sctp": "sctp",
    "132": "sctp",
    "icmp": "icmp",
    "1": "icmp",
    "icmpv6": "icmp",
    "ipv6-icmp": "icmp",
    "58": "icmp",
}
_RANGE = re.compile(r"([0-9]{1,5}):([0-9]{1,5})")
_ICMP = re.compile(r"(?:type=([0-9]{1,3}))?(?::code=([0-9]{1,3}))?")
_ECHO = {"IPv4": (8, 0), "IPv6": (128, 129)}
"""Type of an echo request, and of its reply (RFC 792, RFC 4443 §4)."""


@dataclass(frozen=True, slots=True)
class Said:
    """One rule that can be expressed: where its group is, and what its other end is."""

    row: RuleRow
    place: Place
    services: Services
    prefixes: tuple[Prefix, ...] | None
    """None: the members of `row.remote_group`."""

    @property
    def version(self) -> int:
        """The version of IP that it is about."""
        return 4 if self.row.family == "IPv4" else 6


class Meaning:
    """Reads the rules one by one; `ledger` learns what none of it can say."""

    def __init__(self, cloud: Cloud, ledger: Ledger, budget: Budget) -> None:
        self._budget = budget
        self._cloud = cloud
        self._ledger = ledger
        self._problems: list[Problem] = []
        self.said = [said for row, place in cloud.rules if (said := self._read(row, place)) is not None]
        if self._problems:
            raise InputError(self._problems[:MAX_PROBLEMS])
        self._narrow = {prefix for said in self.said for prefix in said.prefixes or () if prefix.prefixlen}

    def _read(self, row: RuleRow, place: Place) -> Said | None:
        services = self._services(row, place)
        if not services:
            return None
        if row.remote_group is not None:
            return Said(row, place, services, None)
        prefixes = self._prefixes(row, place)
        return None if prefixes is None else Said(row, place, services, prefixes)

    def _prefixes(self, row: RuleRow, place: Place) -> tuple[Prefix, ...] | None:
        """Of the version of IP that the rule is about; of a rule without a remote group."""
        version = 4 if row.family == "IPv4" else 6
        if row.remote_addresses is not None:
            known = self._cloud.address_groups.get(row.remote_addresses)
            if known is None:
                message = (
                    "the addresses of its remote address group are not given (openstack address group list): closed"
                )
                self._ledger.lose(message, place)
                return None
            return tuple(prefix for prefix in known if prefix.version == version)
        if not row.prefix:
            return (ip_network("0.0.0.0/0" if version == 4 else "::/0"),)
        try:
            prefix = ip_network(row.prefix, strict=False) if "%" not in row.prefix else None
        except ValueError:
            prefix = None
        if prefix is None or prefix.version != version:
            self._bad(place, f"expected a prefix of {row.family} in IP Range")
            return None
        return (prefix,)

    def _bad(self, place: Place, message: str) -> None:
        self._problems.append(Problem(place.file, message, place.line, place.column, place.key))

    def _services(self, row: RuleRow, place: Place) -> Services:
        """What it allows; nothing, and a loss, where that cannot be said."""
        word = (row.protocol or "any").lower()
        if word == "any":
            return EVERYTHING
        proto = _PROTOCOLS.get(word)
        if proto is None:
            self._ledger.lose(f"IP protocol {quote(word)} has no service of its own: closed", place)
            return ()
        if proto == "icmp":
            return self._icmp(row, place)
        if not row.ports:
            return (Service(proto),)
        match = _RANGE.fullmatch(row.ports)
        if match is None or not int(match[1]) <= int(match[2]) <= 65535:
            self._bad(place, "expected LOW:HIGH in Port Range")
            return ()
        return (Service(proto, int(match[1]), int(match[2])),)

    def _icmp(self, row: RuleRow, place: Place) -> Services:
        match = _ICMP.fullmatch(row.ports or "")
        if match is None:
            self._bad(place, "expected type=TYPE or type=TYPE:code=CODE in Port Range")
            return ()
        # The client leaves out zeros: a code without a type is one of type 0.
        kind = int(match[1]) if match[1] is not None else (0 if match[2] is not None else None)
        request, reply = _ECHO[row.family]
        if kind is None:
            self._ledger.note(
                "of ICMP only echo is a service: rules for all types allow that, and errors about what is allowed pass "
                "anyway; a rule for type 0 alone is printed like one for all types, and taken for one"
            )
        if kind in (None, request):
            return (Service("icmp"),)
        if kind == reply:
            self._ledger.note("answers to echo pass by themselves: rules for them add nothing")
        else:
            self._ledger.lose(f"ICMP of type {kind} has no service of its own: closed", place)
        return ()

    def apart(self, member: Member) -> object:
        """What tells members apart: their groups, and what prefixes of rules hold of their addresses."""
        self._budget.spend(len(self._narrow) * len(member.addresses))
        held = frozenset(
            (prefix, frozenset(index for index, address in enumerate(member.addresses) if _in(address, prefix)))
            for prefix in self._narrow
            if _touches(prefix, member)
        )
        versions = tuple(address.version for address in member.addresses)
        return (member.groups, held, versions) if held else member.groups

    def sides(self, classes: Sequence[Sequence[Member]]) -> tuple[list[Side], list[Side]]:
        """Egress and ingress of each class; every one is isolated."""
        members_of: dict[str, set[int]] = defaultdict(set)
        for number, members in enumerate(classes):
            for group in members[0].groups:
                members_of[group].add(number)
        grants: dict[tuple[str, str], list[Grant]] = defaultdict(list)
        for said in self.said:
            grant = self._grant(said, members_of, classes)
            # What follows looks at each of these pairs.
            self._budget.spend(len(members_of.get(said.row.group, ())) * (1 + len(grant.classes)))
            grants[said.row.group, said.row.direction].append(grant)
        if self._narrow and any(not member.addresses for members in classes for member in members):
            self._ledger.lose(
                "of some workloads no address is given: what is opened to or for prefixes is closed for them"
            )
        both: list[list[Side]] = [
            [tuple(grant for group in sorted(members[0].groups) for grant in grants[group, way]) for members in classes]
            for way in ("egress", "ingress")
        ]
        return both[0], both[1]

    def _grant(self, said: Said, members_of: dict[str, set[int]], classes: Sequence[Sequence[Member]]) -> Grant:
        origin = self._cloud.origin(said.row.group)
        if said.prefixes is None:
            peers = members_of.get(said.row.remote_group or "", set())
            if not peers:
                name = self._cloud.origin(said.row.remote_group or "")
                message = f"nothing given is in its remote group {quote(name)}: nothing is opened for what comes later"
                self._ledger.lose(message, said.place)
            return Grant(origin, said.services, frozenset(peers), family=said.version)
        self._budget.spend(len(classes) * len(said.prefixes))
        inside: set[int] = set()
        for number, members in enumerate(classes):
            if _holds(said.prefixes, said.version, members[0]):
                inside.add(number)
            elif any(_touches(prefix, members[0]) for prefix in said.prefixes):
                message = f"holds some addresses of {members[0].original} and not others: closed for it"
                self._ledger.lose(message, said.place)
        return Grant(origin, said.services, frozenset(inside), said.prefixes, said.version)


def _holds(prefixes: Iterable[Prefix], version: int, member: Member) -> bool:
    """Whether whatever the member sends by this version of IP is from one of the prefixes."""
    if any(prefix.prefixlen == 0 for prefix in prefixes):
        return True
    addresses = [address for address in member.addresses if address.version == version]
    return bool(addresses) and all(any(_in(address, prefix) for prefix in prefixes) for address in addresses)


def _touches(prefix: Prefix, member: Member) -> bool:
    return any(_in(address, prefix) for address in member.addresses)


def _in(address: Address, prefix: Prefix) -> bool:
    return address.version == prefix.version and address in prefix
