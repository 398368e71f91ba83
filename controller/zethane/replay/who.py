"""Who has an address of a capture: a principal, something outside, a part of the network, or nobody who is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zethane.policy.principal import Party

Standing = Literal["known", "portal", "dns", "unattributed"]


@dataclass(frozen=True, slots=True, eq=False)
class Who:
    """One end of flows. Each is itself alone: caches go by `number`.

    `party` is as policy sees it, `text` names it (`user:alice`, or the address), `place` is where policy finds it: a
    segment, a network outside, or in words why there is none. `source` says what the attribution rests on.
    `standing` is `unattributed` where nothing says who that is, `portal` and `dns` for what Zethane itself opens to
    hosts.
    """

    number: int
    party: Party
    text: str
    place: str
    source: str
    standing: Standing = "known"
    address: str = ""
