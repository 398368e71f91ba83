"""ipBlocks as prefixes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network

from zethane.convert.kubernetes.schema import Block
from zethane.convert.reach import without
from zethane.net.prefix import Prefix, within


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of `whole` without those of `exceptions`."""

    whole: Prefix
    exceptions: tuple[Prefix, ...]

    def holds(self, number: int) -> bool:
        """Whether it has the address that this number means in the family of the block."""
        return _in(number, self.whole) and not any(_in(number, one) for one in self.exceptions)

    def prefixes(self, most: int) -> tuple[Prefix, ...] | None:
        """The same as prefixes; None if that takes more than so many."""
        return without(self.whole, self.exceptions, most)


def addresses_of(block: Block) -> Addresses:
    """What the block means. Raises ValueError with what was expected; host bits count for nothing, as in the API."""
    whole = _prefix(block.cidr)
    exceptions = tuple(_prefix(text) for text in block.exceptions)
    for exception in exceptions:
        if not within(exception, whole) or exception == whole:
            raise ValueError(f"expected exceptions within {whole} and smaller than it, found {exception}")
    return Addresses(whole, exceptions)


def _prefix(text: str) -> Prefix:
    if "/" in text and "%" not in text:
        try:
            return ip_network(text, strict=False)
        except ValueError:
            pass
    raise ValueError("expected prefixes such as 10.0.0.0/8 or 2001:db8::/32 in cidr and except")


def _in(number: int, network: Prefix) -> bool:
    return int(network.network_address) <= number <= int(network.broadcast_address)
