"""By what words a session, and the subject of an event, may be found. Whether they fit, `scope.concerned` decides."""

from __future__ import annotations

from collections.abc import Iterator

from zethane.identity.proof import Proof
from zethane.identity.session import Session
from zethane.identity.signals.subject import Subject


def keys_of_session(session: Session) -> frozenset[str]:
    """The words for everybody who has proved to be there."""
    return frozenset(key for proof in session.proofs for key in _keys_of_proof(proof))


def _keys_of_proof(proof: Proof) -> Iterator[str]:
    said = (value for name, value in (*proof.attributes, *proof.labels) if name == "email")
    for text in (proof.subject, proof.reference, proof.account, proof.name, proof.name.rpartition("@")[0], *said):
        if text:
            yield text.casefold()


def keys_of_subject(subject: Subject) -> frozenset[str]:
    """The words that a subject is named by."""
    found = (one for part in (subject.simple, subject.user, subject.session, subject.device) for one in part)
    return frozenset(key for one in found for key in _keys_of_text(one.values[-1].casefold()) if key)


def _keys_of_text(text: str) -> Iterator[str]:
    """The text itself; for `acct:alice@example.org` also what follows the scheme, and the name in it."""
    yield text
    if text.startswith("acct:"):
        rest = text.removeprefix("acct:")
        yield rest
        yield rest.rpartition("@")[0]
