"""Traffic that was seen, in a decision log or in a capture: what a policy is held against and made from."""

from __future__ import annotations

from dataclasses import dataclass

from zethane.policy.principal import Party


@dataclass(frozen=True, slots=True)
class Seen:
    """Flows of one service from one party to another, as principals, or addresses outside; None: nobody is known there.

    `ip_proto` and `port` are those of `decide`. `flows` is how many there were, `packets` and `octets` both ways
    together (0 where that was not recorded). `first` and `last` are seconds since the epoch. `allowed` is what was
    decided when they were seen, and `rule` by which rule; None where nobody decided, as in a capture.
    `source` and `target` say in words who that was: `user:alice`, or the address.
    """

    subject: Party
    object: Party
    ip_proto: int
    port: int
    source: str
    target: str
    flows: int = 1
    packets: int = 0
    octets: int = 0
    first: float = 0.0
    last: float = 0.0
    allowed: bool | None = None
    rule: str | None = None
