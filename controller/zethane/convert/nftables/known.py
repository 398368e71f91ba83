"""What is known of addresses, before a policy is applied to them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from zethane.convert.reach import collapse, without
from zethane.net.prefix import Prefix, in_order, within
from zethane.policy.principal import External, Party, Principal

MAX_PIECES = 4096
"""Prefixes that one prefix may fall into by the longer ones within it."""


@dataclass(frozen=True, slots=True)
class Known:
    """Who has which addresses, and what is outside.

    In `parties` the longest prefix wins; None there is ours, and nobody is logged in. `outside` is what uplinks lead to
    (None: not known), `own` what is never outside. `missing` are principals whose addresses are not known.
    """

    parties: Mapping[Prefix, Party]
    outside: Sequence[Prefix] | None = None
    own: Sequence[Prefix] = ()
    missing: Sequence[Principal] = ()

    def peers(self) -> Iterator[tuple[Principal, tuple[Prefix, ...] | None]]:
        """Each principal with its addresses, without those that a longer prefix gives to another.

        None stands for more prefixes than anybody filters by.
        """
        ordered = in_order(self.parties)
        for prefix in ordered:
            party = self.parties[prefix]
            if isinstance(party, Principal):
                yield party, without(prefix, _longer(prefix, ordered), MAX_PIECES)

    @property
    def foreign(self) -> tuple[Prefix, ...]:
        """What is outside, `inside` not yet taken away."""
        told = [prefix for prefix, party in self.parties.items() if isinstance(party, External)]
        return collapse([*(self.outside or ()), *told])

    @property
    def inside(self) -> tuple[Prefix, ...]:
        """What is never outside."""
        known = [prefix for prefix, party in self.parties.items() if not isinstance(party, External)]
        return collapse([*self.own, *known])


def _longer(prefix: Prefix, ordered: Sequence[Prefix]) -> list[Prefix]:
    """The others within it."""
    low = bisect_left(ordered, _key(prefix, int(prefix.network_address)), key=_place)
    high = bisect_right(ordered, _key(prefix, int(prefix.broadcast_address)), key=_place)
    return [other for other in ordered[low:high] if other != prefix and within(other, prefix)]


def _place(prefix: Prefix) -> tuple[int, int]:
    return _key(prefix, int(prefix.network_address))


def _key(prefix: Prefix, address: int) -> tuple[int, int]:
    return prefix.version, address


def common(some: Sequence[Prefix], others: Sequence[Prefix]) -> tuple[Prefix, ...]:
    """The addresses that are in one of each."""
    inner = [one for one in some if any(within(one, other) for other in others)]
    outer = [other for other in others if any(within(other, one) for one in some)]
    return collapse([*inner, *outer])
