"""The table of live sessions: whatever happens to them, who is looked for by a name is who a look at all would find."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from zethane.identity.proof import Proof
from zethane.identity.session import Attachment, Session
from zethane.policy.principal import Principal
from zethane.service.sessions import Live, SessionTable

SEGMENTS = ("staff", "web")
DEVICES = (None, "laptop", "phone")
PROOFS = (
    Proof("user", "alice", "portal", 0.0),
    Proof("user", "device:laptop", "portal", 0.0),
    Proof("device", "laptop", "certificate", 0.0),
    Proof("workload", "alice", "attestation", 0.0, issuer="ovsdb:s1"),
    Proof("user", "bob", "oidc", 0.0, issuer="corp"),
)
ISSUERS = ("ovsdb:s1", "corp", "")
ASKED = {name for proof in PROOFS for name in (proof.name, proof.account)} | {"device:phone", "nobody", ""}

steps = st.tuples(
    st.integers(1, 4),
    st.sampled_from(("add", "change", "remove")),
    st.sampled_from(SEGMENTS),
    st.lists(st.sampled_from(PROOFS), unique=True).map(tuple),
    st.sampled_from(DEVICES),
)


def is_named(session: Session, name: str) -> bool:
    proven = any(name in (proof.name, proof.account) for proof in session.proofs)
    return proven or (session.device is not None and name == f"device:{session.device}")


def is_vouched_by(session: Session, issuer: str) -> bool:
    return any(proof.issuer == issuer for proof in session.proofs)


@given(st.lists(steps, max_size=20))
def test_sessions_are_found_by_what_they_are_now(
    done: list[tuple[int, str, str, tuple[Proof, ...], str | None]],
) -> None:
    table = SessionTable()
    for number, what, segment, proofs, device in done:
        live = table.by_number.get(number)
        if live is None and what == "add":
            attachment = Attachment(1, number, 0, number)
            session = Session(number, Principal("user", "alice"), attachment, (), segment, 0.0, proofs, device)
            table.add(Live(session, 1, 1, b"\x02\0\0\0\0\x01"))
        elif live is not None and what == "change":
            table.change(live, replace(live.session, segment=segment, proofs=proofs, device=device), math.inf)
        elif live is not None and what == "remove":
            table.remove(live)

        everybody = list(table)
        for name in ASKED:
            by_look = {live.session.number for live in everybody if is_named(live.session, name)}
            assert {live.session.number for live in table.named(name)} == by_look
        for name in ISSUERS:
            by_look = {one.session.number for one in everybody if name and is_vouched_by(one.session, name)}
            assert {one.session.number for one in table.vouched_by(name)} == by_look
        for name in SEGMENTS:
            by_look = {live.session.number for live in everybody if live.session.segment == name}
            assert {live.session.number for live in table.in_segments([name])} == by_look
