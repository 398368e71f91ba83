"""Prefixes (CIDR, RFC 4632 and RFC 4291 §2.3), and the longest one that contains an address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Generic, TypeVar

V = TypeVar("V")

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network

MAX_TEXT = 64
"""Characters of a prefix at the most."""


def parse_prefix(text: str) -> Prefix:
    """A prefix, or one address as the only one of its prefix. Raises ValueError with what was expected."""
    if len(text) <= MAX_TEXT and "%" not in text:
        try:
            return ip_network(text)
        except ValueError:
            pass
    raise ValueError(
        f"expected a prefix without host bits such as 198.51.100.0/24 or 2001:db8::/32, found {text[:MAX_TEXT]!r}"
    )


def within(inner: Prefix, outer: Prefix) -> bool:
    """Whether every address of `inner` is one of `outer`."""
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def longest(address: Address, prefixes: Iterable[Prefix]) -> Prefix | None:
    """The longest of the prefixes that contains the address."""
    fitting = (prefix for prefix in prefixes if prefix.version == address.version and address in prefix)
    return max(fitting, key=lambda prefix: prefix.prefixlen, default=None)


def in_order(prefixes: Iterable[Prefix]) -> list[Prefix]:
    """IPv4 before IPv6, then by address, wider ones first: the same list for the same set."""
    return sorted(set(prefixes), key=lambda prefix: (prefix.version, int(prefix.network_address), prefix.prefixlen))


class PrefixTable(Generic[V]):
    """A value per prefix, found by packed address: the longest prefix that contains it wins.

    A look-up takes one step per different length that occurs, at most 162 for both families together.
    """

    def __init__(self, values: Mapping[Prefix, V]) -> None:
        by_length: dict[tuple[int, int], dict[int, V]] = {}
        for prefix, value in values.items():
            bits = prefix.max_prefixlen
            rows = by_length.setdefault((bits // 8, bits - prefix.prefixlen), {})
            rows[int(prefix.network_address) >> bits - prefix.prefixlen] = value
        self._rows = {
            size: [(shift, rows) for (length, shift), rows in sorted(by_length.items()) if length == size]
            for size in (4, 16)
        }

    def find(self, address: bytes) -> V | None:
        """The value of the longest prefix that contains a packed address."""
        number = int.from_bytes(address, "big")
        for shift, rows in self._rows.get(len(address), ()):
            value = rows.get(number >> shift)
            if value is not None:
                return value
        return None
