"""What outlives the controller: sessions, leases, the numbers given out, and the last TOTP step of each user."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from zethane.identity.factor import Factor, FactorKind
from zethane.identity.session import Session
from zethane.service.accounts import Block
from zethane.service.leases import Lease
from zethane.service.policy_numbers import Numbers


class SessionStore(Protocol):
    """State that a restart takes up again. Every call is durable when it returns, and takes about a millisecond."""

    def sessions(self) -> list[Session]:
        """The sessions that were saved and not ended, in any order; some may have run out meanwhile."""

    def save(self, session: Session) -> None:
        """Keep a session, new or changed."""

    def end(self, number: int) -> None:
        """Forget a session."""

    def new_number(self, in_use: Callable[[int], bool]) -> int:
        """A session number that no flow can still carry: never one given out before, until all have been.

        Raises CapacityError if every number is in use.
        """

    def epoch(self) -> int:
        """A number of 32 bits that this store has chosen at random, and keeps: it tells what switches hold of its
        sessions from what they hold of an earlier store's, whose numbers mean others. Never 0."""

    def last_totp_step(self, user: str) -> int:
        """The time step of the last code accepted from a user; -1 if there was none."""

    def use_totp_step(self, user: str, step: int) -> bool:
        """Record a code's time step; False, and nothing recorded, unless it is later than the last."""


class LeaseStore(Protocol):
    """The DHCP leases that a restart takes up again. What cannot be written is logged, and forgotten by a restart."""

    def leases(self) -> list[Lease]:
        """The leases that were saved and not ended; some may have run out meanwhile."""

    def save_lease(self, lease: Lease) -> None:
        """Keep a lease, new or changed."""

    def end_lease(self, address: bytes) -> None:
        """Forget the lease of an address."""


class FactorStore(Protocol):
    """The second factors that users have enrolled. What raises CapacityError has changed nothing."""

    def factors_of(self, user: str) -> list[Factor]:
        """The factors of a user, oldest first."""

    def factor(self, factor_id: str) -> Factor | None:
        """One factor."""

    def save_factor(self, factor: Factor) -> None:
        """Keep a factor, new or changed. Raises CapacityError."""

    def end_factor(self, factor_id: str) -> bool:
        """Forget a factor; False if there is none. Raises CapacityError."""

    def replace_factors(self, user: str, kind: FactorKind, factors: Sequence[Factor]) -> None:
        """Put factors in the place of all that a user has of their kind, all or none. Raises CapacityError."""

    def end_factors(self, user: str) -> None:
        """Forget all factors of a user. Raises CapacityError."""


class AuthenticationStore(SessionStore, FactorStore, Protocol):
    """What a login needs to remember."""


class BlockStore(Protocol):
    """The blocked accounts that a restart takes up again."""

    def blocks(self) -> list[Block]:
        """The blocks that were saved and not ended; some may be over meanwhile."""

    def save_block(self, block: Block) -> None:
        """Keep a block, new or changed. Raises CapacityError if it cannot be written."""

    def end_block(self, account: str) -> None:
        """Forget the block of an account. Raises CapacityError if that cannot be written."""


class Store(SessionStore, LeaseStore, FactorStore, BlockStore, Numbers, Protocol):
    """Everything that outlives the controller."""
