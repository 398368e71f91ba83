"""Lists as python-openstackclient prints them to a Cloud. Each list is known by its columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import TypeVar

from pydantic import BaseModel

from zethane.convert.loss import Ledger
from zethane.convert.objects import check_files, trees
from zethane.convert.openstack.cloud import Cloud, Member
from zethane.convert.openstack.schema import AddressGroupRow, GroupRow, PortRow, RuleRow, ServerRow
from zethane.document import MAX_PROBLEMS, Place, quote
from zethane.document.node import Node, dotted
from zethane.document.parse import read
from zethane.errors import InputError, Problem
from zethane.net.prefix import Address, Prefix

M = TypeVar("M", bound=BaseModel)

MAX_RULES = 65_536
MAX_MEMBERS = 20_000

_KINDS: tuple[tuple[type[BaseModel], str, frozenset[str]], ...] = (
    (RuleRow, "security group rule list", frozenset({"IP Protocol"})),
    (PortRow, "port list --long", frozenset({"Fixed IP Addresses"})),
    (ServerRow, "server list", frozenset({"Networks"})),
    (ServerRow, "server list", frozenset({"Status", "Security Groups"})),
    (AddressGroupRow, "address group list", frozenset({"Addresses"})),
    (GroupRow, "security group list", frozenset({"Name", "Description"})),
)
"""Columns by which a list is known, the first that fits."""

_HINTS = {
    "Direction": "this column is required and missing; older clients print it with --long",
    "Ethertype": "this column is required and missing; older clients print it with --long",
    "Security Group": "this column is required and missing; list the rules of all groups, without naming one",
    "Security Groups": "this column is required and missing; list the ports with --long",
}


class Reader:
    """Reads one list after the other, collecting what is wrong."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._cloud = Cloud()
        self._problems: list[Problem] = []
        self._ports: list[tuple[PortRow, Place]] = []
        self._servers: list[tuple[ServerRow, Place]] = []
        self._seen: set[tuple[str, str]] = set()

    def read(self, texts: Mapping[str, str]) -> Cloud:
        """Everything in the texts, by the names of their files. Raises InputError."""
        check_files(texts)
        for file, text in texts.items():
            for root in trees(text, file):
                self._list(root, file)
        self._members()
        self._stop()
        return self._cloud

    def _stop(self) -> None:
        if self._problems:
            raise InputError(self._problems[:MAX_PROBLEMS])

    def _problem(self, place: Place, message: str) -> None:
        self._problems.append(Problem(place.file, message, place.line, place.column, place.key or None))
        if len(self._problems) >= MAX_PROBLEMS:
            self._stop()

    def _list(self, root: Node, file: str) -> None:
        place = Place(file, root.line, root.column)
        if root.items is None or any(item.members is None for item in root.items):
            self._problem(place, "expected a list of keys and values, as openstack … list -f json prints it")
            return
        if not root.items:
            return
        columns = set(root.items[0].members or ())
        kind = next((kind for kind in _KINDS if kind[2] <= columns), None)
        if kind is None:
            expected = ", ".join(dict.fromkeys(words for _, words, _ in _KINDS))
            self._problem(place, f"expected what openstack prints for one of: {expected}")
            return
        for index, item in enumerate(root.items):
            self._row(item, file, index, kind[0])

    def _row(self, item: Node, file: str, index: int, model: type[BaseModel]) -> None:
        place = Place(file, item.line, item.column, dotted((index,)))
        found = self._model(item, file, index, model)
        if found is None:
            return
        key = (type(found).__name__, getattr(found, "id", ""))
        if key in self._seen:
            self._problem(place, f"{quote(key[1])} is listed twice")
            return
        self._seen.add(key)
        if isinstance(found, RuleRow):
            self._bounded(self._cloud.rules, MAX_RULES, "rules", file)
            self._cloud.rules.append((found, place))
        elif isinstance(found, GroupRow):
            self._cloud.names[found.id] = found.name
        elif isinstance(found, PortRow):
            self._bounded(self._ports, MAX_MEMBERS, "ports", file)
            self._ports.append((found, place))
        elif isinstance(found, ServerRow):
            self._bounded(self._servers, MAX_MEMBERS, "servers", file)
            self._servers.append((found, place))
        elif isinstance(found, AddressGroupRow):
            self._cloud.address_groups[found.id] = self._prefixes(found.addresses, place)

    def _bounded(self, found: list[tuple[M, Place]], most: int, what: str, file: str) -> None:
        if len(found) >= most:
            raise InputError([Problem(file, f"expected at most {most} {what}")])

    def _model(self, item: Node, file: str, index: int, model: type[M]) -> M | None:
        try:
            return read(item, file, model).value
        except InputError as error:
            for one in error.problems:
                key = f"{dotted((index,))}.{one.key}" if one.key else dotted((index,))
                message = _HINTS.get(one.key or "", one.message) if "required" in one.message else one.message
                self._problem(Place(one.file, one.line or 1, one.column or 1, key), message)
            return None

    def _prefixes(self, texts: Iterable[str], place: Place) -> tuple[Prefix, ...]:
        try:
            return tuple(ip_network(text, strict=False) for text in texts if "%" not in text)
        except ValueError:
            self._problem(place, "expected addresses and prefixes")
            return ()

    def _addresses(self, texts: Iterable[str], place: Place) -> tuple[Address, ...]:
        try:
            return tuple(ip_address(text) for text in dict.fromkeys(texts))
        except ValueError:
            self._problem(place, "expected IP addresses")
            return ()

    def _members(self) -> None:
        if self._ports:
            self._members_by_port()
            return
        by_name: dict[str, list[str]] = {}
        for identifier, name in self._cloud.names.items():
            by_name.setdefault(name, []).append(identifier)
        names = Counter(server.name for server, _ in self._servers)
        for server, place in self._servers:
            if server.groups is None:
                self._problem(
                    place,
                    "which groups is it in? Give openstack port list --long, too, or list the servers with "
                    '-c ID -c Name -c Status -c Networks -c "Security Groups"',
                )
                return
            addresses = self._addresses((text for texts in server.networks.values() for text in texts), place)
            groups = self._named(server.groups, by_name, place)
            name = server.name if names[server.name] == 1 else f"{server.name}-{server.id[:8]}"
            original = f"server {server.name} ({server.id})"
            self._cloud.members.append(Member(original, name, groups, addresses, place))

    def _named(self, words: Iterable[str], by_name: Mapping[str, list[str]], place: Place) -> frozenset[str]:
        """Groups by their names; a name of several groups could be any of them."""
        found: set[str] = set()
        for word in words:
            identifiers = by_name.get(word, [])
            if len(identifiers) == 1:
                found.add(identifiers[0])
            else:
                what = "several groups are" if identifiers else "no group is"
                self._ledger.lose(
                    f"{what} named {quote(word)}: taken as none; openstack port list --long has ids", place
                )
        return frozenset(found)

    def _members_by_port(self) -> None:
        """Ports are what groups are about; a server is named where its addresses say which port is its own."""
        having: dict[Address, list[ServerRow]] = {}
        for server, place in self._servers:
            for address in self._addresses((text for texts in server.networks.values() for text in texts), place):
                having.setdefault(address, []).append(server)
        owned: list[tuple[PortRow, Place, tuple[Address, ...], ServerRow | None]] = []
        for port, place in self._ports:
            if port.owner and not port.owner.startswith("compute:"):
                self._ledger.note(f"ports of {quote(port.owner)} are the network's own, and are left out")
                continue
            addresses = self._addresses((one.address for one in port.addresses), place)
            servers = {server.id: server for address in addresses for server in having.get(address, ())}
            owner = next(iter(servers.values())) if len(servers) == 1 else None
            owned.append((port, place, addresses, owner))
        ports_of = Counter(owner.id for *_, owner in owned if owner is not None)
        names = Counter(server.name for server, _ in self._servers)
        for port, place, addresses, owner in owned:
            name = port.name or f"port-{port.id[:8]}"
            original = f"port {port.id}"
            if owner is not None:
                unique = owner.name if names[owner.name] == 1 else f"{owner.name}-{owner.id[:8]}"
                name = unique if ports_of[owner.id] == 1 else f"{unique}.{name}"
                original = f"server {owner.name}, port {port.id}"
            self._cloud.members.append(Member(original, name, frozenset(port.groups), addresses, place))
