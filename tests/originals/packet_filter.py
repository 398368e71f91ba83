"""What a packet filter made of an export lets pass, one packet at a time over its entries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zethane.convert.nftables.entries import Entry
from zethane.net.prefix import Address, Prefix


def passes(
    entries: Sequence[Entry],
    foreign: Sequence[Prefix],
    inside: Sequence[Prefix],
    *,
    leaving: bool,
    own: Address,
    peer: Address,
    ip_proto: int,
    port: int,
) -> bool:
    """Whether a packet that opens a flow passes: no deny fits it, and an allow does."""

    def fits(entry: Entry) -> bool:
        if entry.leaving is not leaving or not _in(peer, entry.peers) or (entry.own and not _in(own, entry.own)):
            return False
        if entry.outside and (not _in(peer, foreign) or _in(peer, inside)):
            return False
        return any(service.matches(ip_proto, port) for service in entry.services)

    matching = [entry for entry in entries if fits(entry)]
    return bool(matching) and all(entry.rule.allow for entry in matching)


def _in(address: Address, prefixes: Iterable[Prefix]) -> bool:
    return any(address.version == prefix.version and address in prefix for prefix in prefixes)
