"""How often a login may be tried: per port, per attachment, and per account.

A port is the one thing that a host cannot choose, and pays for every attempt, good or bad. Attachments and
accounts pay for those that fail. Anybody can make attempts on somebody else's account fail, so that an
account's limit must not keep its owner out: who has logged in from an attachment before has an allowance of
their own there (a "device cookie" whose place the attachment takes).

Time is a parameter: seconds, of any clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from zethane.identity.session import Attachment


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` at once, and then one every `interval` seconds."""

    burst: int
    interval: float


class Buckets:
    """One token bucket per key, in bounded memory (generic cell rate algorithm, ITU-T I.371).

    A bucket is one number: the moment at which it will be full again.
    """

    def __init__(self, rate: Rate, size: int) -> None:
        self._rate = rate
        self._size = size
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: Hashable, now: float) -> float:
        """Seconds until the key has a token; 0 if it has one."""
        earliest = self._when_full(key, now) - (self._rate.burst - 1) * self._rate.interval
        return max(0.0, earliest - now)

    def take(self, key: Hashable, now: float) -> None:
        """Spend a token. Call it only after `wait` has returned 0."""
        full_at = self._when_full(key, now) + self._rate.interval
        self._full_at.pop(key, None)
        self._make_room(now)
        self._full_at[key] = full_at

    def give_back(self, key: Hashable, now: float) -> None:
        """Return a token that was taken."""
        full_at = self._when_full(key, now) - self._rate.interval
        if full_at <= now:
            self._full_at.pop(key, None)
        else:
            self._full_at[key] = full_at

    def _when_full(self, key: Hashable, now: float) -> float:
        full_at, latest = self._full_at.get(key, now), now + self._rate.burst * self._rate.interval
        if full_at > latest:  # the clock was set back: nobody waits for longer than a whole bucket, from now on
            full_at = self._full_at[key] = latest
        return max(full_at, now)

    def _make_room(self, now: float) -> None:
        """Forget the bucket that was used longest ago, and those beside it that are full again."""
        while self._full_at:
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) < self._size:
                return
            del self._full_at[oldest]


@dataclass(frozen=True, slots=True)
class Limited:
    """An attempt must wait: which limit says so, and for how many seconds."""

    limit: str
    wait: float


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """The rates, and how many keys of each kind are remembered."""

    port: Rate = Rate(20, 1.0)
    attachment: Rate = Rate(6, 15.0)
    # With three codes good at a time, one guess a minute finds a TOTP code in about eight months on average.
    account: Rate = Rate(10, 60.0)
    # One port spends an account's tokens at half the rate at which they come back: it cannot keep the owner out.
    port_account: Rate = Rate(5, 120.0)
    size: int = 16_384


class Attempts:
    """Who may try to log in now."""

    def __init__(self, limits: AttemptLimits | None = None) -> None:
        limits = limits or AttemptLimits()
        self._ports = Buckets(limits.port, limits.size)
        self._attachments = Buckets(limits.attachment, limits.size)
        self._accounts = Buckets(limits.account, limits.size)
        self._port_accounts = Buckets(limits.port_account, limits.size)
        self._size = limits.size
        self._familiar: dict[tuple[Attachment, str], None] = {}

    def admit(self, attachment: Attachment, account: str, now: float) -> Limited | None:
        """None, and the attempt is counted; or the limit that it has to wait for, and nothing is counted."""
        limits = self._limits(attachment, account)
        for name, buckets, key in limits:
            wait = buckets.wait(key, now)
            if wait > 0:
                return Limited(name, wait)
        for _, buckets, key in limits:
            buckets.take(key, now)
        return None

    def forgive(self, attachment: Attachment, account: str, now: float) -> None:
        """The attempt has not failed: only its port pays for it."""
        for _, buckets, key in self._limits(attachment, account)[1:]:
            buckets.give_back(key, now)

    def succeeded(self, attachment: Attachment, account: str, now: float) -> None:
        """The attempt was good: forgive it, and know the account at this attachment from now on."""
        self.forgive(attachment, account, now)
        self._familiar.pop((attachment, account), None)
        if len(self._familiar) >= self._size:
            del self._familiar[next(iter(self._familiar))]
        self._familiar[attachment, account] = None

    def _limits(self, attachment: Attachment, account: str) -> tuple[tuple[str, Buckets, Hashable], ...]:
        key: Hashable = (attachment, account)
        port = (attachment.dpid, attachment.port)
        return (
            ("port", self._ports, port),
            ("attachment", self._attachments, attachment),
            ("port-account", self._port_accounts, (port, account)),
            ("account", self._accounts, key if key in self._familiar else account),
        )
