"""One policy after another: what is worked out before the change, beside the event loop, and what is left for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from zethane.pipeline.change import Add, Change, Remove
from zethane.policy.model import Policy
from zethane.policy.principal import Principal
from zethane.service.policy_in_force import PolicyInForce, Standing
from zethane.service.policy_numbers import Numbering
from zethane.service.relations import place
from zethane.service.sessions import Live
from zethane.service.state import State

Beside = Callable[[Callable[[], None]], Awaitable[None]]
"""Does something beside the event loop: what it touches must not change meanwhile."""


async def on_the_spot(work: Callable[[], None]) -> None:
    """No other place: at once."""
    work()


class Succession:
    """A policy that is to take the place of the one in force.

    `work_out` may run beside the event loop: it reads what never changes, and principals as they were when this was
    made. Everything else belongs to the loop.
    """

    def __init__(self, state: State, policy: Policy, numbering: Numbering) -> None:
        self._state = state
        self._policy = policy
        self._numbering = numbering
        self._before = state.policy
        self._now = state.clock()
        self._new: PolicyInForce | None = None
        self._worked_out: PolicyInForce | None = None
        self._removed: list[Change] = []
        self._added: list[Change] = []
        self._people: list[tuple[int, Principal]] = []
        if not self._before.policy.has_places_of(policy):
            self._people = [(live.session.number, live.session.principal) for live in state.sessions]
        self._placed: dict[int, tuple[Principal, Standing | None]] = {}

    def work_out(self) -> None:
        """The policy with its numbers, what its entries differ in from those of the one before, and where it places
        everybody if it may place anybody elsewhere.

        Raises CapacityError.
        """
        self._new = self._worked_out = new = self._before.succeeded_by(self._policy, self._numbering, self._now)
        for removed, added in self._before.differences(new):
            self._removed += [Remove(*key) for key in removed]
            self._added += map(Add, added)
        if self._before.moving(new) is None:
            for number, principal in self._people:
                self._placed[number] = principal, new.place(principal, self._now)

    def fits(self) -> bool:
        """Whether what it follows is in force still, be it at another hour, and the numbers are those that it knew."""
        return self._state.policy.policy is self._before.policy and self._numbering.fits()

    def keep(self) -> None:
        """Keep all that it gave out; may run beside the event loop. Raises CapacityError."""
        self._numbering.keep()

    def as_of_now(self) -> PolicyInForce:
        """The policy as of now; it may not be put in force before what it gave out is kept."""
        assert self._new is not None  # noqa: S101  # worked out before
        self._new = self._new.as_of(self._state.clock())
        return self._new

    def difference(self) -> tuple[list[Change], list[Change]] | None:
        """The entries that go and those that come, as long as neither policy is at another hour than it was."""
        if self._state.policy is not self._before or self._new is not self._worked_out:
            return None
        return self._removed, self._added

    def standings(self, now: float) -> Iterator[tuple[Live, Standing | None]]:
        """Where sessions stand under it whose place, or what is known of it, may be another."""
        new, before = self._new, self._state.policy
        assert new is not None  # noqa: S101  # worked out before
        moving = before.moving(new)
        for live in self._concerned(moving):
            principal, standing = self._placed.get(live.session.number, (None, None))
            if principal is not live.session.principal or new.policy.expressions:
                standing = place(self._state, new, live.session.principal, now)
            if standing is None or not self._stands(live, standing, new):
                yield live, standing

    def _concerned(self, moving: frozenset[str] | None) -> Iterable[Live]:
        sessions = self._state.sessions
        return sessions if moving is None else sessions.in_segments(moving)

    def _stands(self, live: Live, standing: Standing, new: PolicyInForce) -> bool:
        """Whether a session is there already, at all of its addresses."""
        return (
            standing == (live.session.segment, live.session_class, live.until)
            and not live.by_address
            and not new.asks_addresses(standing.segment)
            and new.allows_vlan(standing.segment, live.session.attachment.vlan)
        )
