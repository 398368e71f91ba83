"""When sessions that began below IP have to prove themselves again, soon enough for their flows to go on."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator

from zethane.identity.proof import Proof
from zethane.identity.session import Session
from zethane.net.endpoint import Attachment

LEAD = 120.0
"""Seconds before a proof ends in which it is renewed, and no more than a quarter of the time that it holds."""

_METHODS = frozenset(("dot1x", "mab"))


def renewable(session: Session | None) -> Proof | None:
    """The proof that is renewed first; None if none is, or none has to be."""
    proofs = session.proofs if session is not None else ()
    found = [proof for proof in proofs if proof.method in _METHODS and proof.reauthenticate < math.inf]
    return min(found, key=lambda proof: proof.reauthenticate, default=None)


def renewal(proof: Proof) -> float:
    """The moment at which its renewal begins."""
    return proof.reauthenticate - min(LEAD, max(0.0, proof.reauthenticate - proof.at) / 4)


class Renewals:
    """One moment for each attachment."""

    def __init__(self) -> None:
        self._at: dict[Attachment, float] = {}
        self._due: list[tuple[float, int, Attachment]] = []
        self._order = itertools.count()

    def note(self, attachment: Attachment, session: Session | None) -> None:
        """The session there has begun, changed or ended."""
        proof = renewable(session)
        if proof is None:
            self._at.pop(attachment, None)
            return
        moment = renewal(proof)
        if self._at.get(attachment) == moment:
            return
        self._at[attachment] = moment
        heapq.heappush(self._due, (moment, next(self._order), attachment))
        if len(self._due) > 2 * len(self._at) + 64:  # what was renewed leaves its old moments behind
            self._due = [(known, next(self._order), place) for place, known in self._at.items()]
            heapq.heapify(self._due)

    def due(self, now: float) -> Iterator[Attachment]:
        """Take out those whose moment has come."""
        while self._due and self._due[0][0] <= now:
            moment, _, attachment = heapq.heappop(self._due)
            if self._at.get(attachment) == moment:
                del self._at[attachment]
                yield attachment
