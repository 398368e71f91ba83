"""A journal and a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from zethane.errors import CapacityError
from zethane.identity.factor import Factor, FactorKind
from zethane.identity.posture import Posture
from zethane.identity.session import MAX_SESSION, Session
from zethane.policy.versions import following
from zethane.service.accounts import Block
from zethane.service.leases import Lease


class Records:
    """A journal that keeps every call as (name, arguments)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._watchers: list[Callable[..., None]] = []

    def watch(self, watcher: Callable[..., None]) -> None:
        self._watchers.append(watcher)

    def session(self, *arguments: Any) -> None:
        self.calls.append(("session", arguments))
        for watcher in self._watchers:
            watcher(*arguments)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self.calls.append((name, arguments))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls if called == name]

    def reasons(self) -> list[str]:
        """The reasons of all denied packets."""
        return [arguments[0].reason for arguments in self.of("denied")]


class MemoryStore:
    """A store that forgets at the end of the test."""

    def __init__(self) -> None:
        self.saved: dict[int, Session] = {}
        self.kept: dict[str, Mapping[str, int]] = {}
        self.last_numbers: dict[str, int] = {}
        self.last = 0
        self.steps: dict[str, int] = {}
        self.leased: dict[bytes, Lease] = {}
        self.factors: dict[str, Factor] = {}
        self.known_postures: dict[str, Posture] = {}
        self.seen: dict[tuple[str, str], float] = {}
        self.blocked: dict[str, Block] = {}

    def sessions(self) -> list[Session]:
        return list(self.saved.values())

    def save(self, session: Session) -> None:
        self.saved[session.number] = session

    def end(self, number: int) -> None:
        self.saved.pop(number, None)

    def new_number(self, in_use: Callable[[int], bool]) -> int:
        if self.last >= MAX_SESSION or in_use(self.last + 1):
            raise CapacityError("no number is left")
        self.last += 1
        return self.last

    def numbers(self, kind: str) -> Mapping[str, int]:
        return self.kept.get(kind, {})

    def last_number(self, kind: str) -> int:
        return self.last_numbers.get(kind, 0)

    def keep_numbers(self, kind: str, given: Mapping[str, int], gone: Collection[str] = ()) -> None:
        self.kept[kind] = following(self.numbers(kind), given, gone)
        self.last_numbers[kind] = max(self.last_number(kind), *given.values(), 0)

    def epoch(self) -> int:
        return 1

    def leases(self) -> list[Lease]:
        return list(self.leased.values())

    def save_lease(self, lease: Lease) -> None:
        self.leased[lease.address] = lease

    def end_lease(self, address: bytes) -> None:
        self.leased.pop(address, None)

    def blocks(self) -> list[Block]:
        return list(self.blocked.values())

    def save_block(self, block: Block) -> None:
        self.blocked[block.account] = block

    def end_block(self, account: str) -> None:
        self.blocked.pop(account, None)

    def last_totp_step(self, user: str) -> int:
        return self.steps.get(user, -1)

    def use_totp_step(self, user: str, step: int) -> bool:
        if step <= self.last_totp_step(user):
            return False
        self.steps[user] = step
        return True

    def factors_of(self, user: str) -> list[Factor]:
        return [factor for factor in self.factors.values() if factor.user == user]

    def factor(self, factor_id: str) -> Factor | None:
        return self.factors.get(factor_id)

    def save_factor(self, factor: Factor) -> None:
        self.factors[factor.id] = factor

    def end_factor(self, factor_id: str) -> bool:
        return self.factors.pop(factor_id, None) is not None

    def replace_factors(self, user: str, kind: FactorKind, factors: Sequence[Factor]) -> None:
        kept = [one for one in self.factors.values() if (one.user, one.kind) != (user, kind)]
        self.factors = {one.id: one for one in (*kept, *factors)}

    def end_factors(self, user: str) -> None:
        self.factors = {one.id: one for one in self.factors.values() if one.user != user}

    def postures(self) -> list[Posture]:
        return list(self.known_postures.values())

    def save_posture(self, posture: Posture) -> None:
        self.known_postures[posture.device] = posture

    def was_seen(self, issuer: str, token: str, until: float, now: float) -> bool:  # noqa: ARG002  # it forgets nothing
        return (issuer, token) in self.seen

    def see(self, issuer: str, token: str, until: float, now: float) -> None:  # noqa: ARG002
        self.seen[issuer, token] = until
