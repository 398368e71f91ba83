"""How `zethane sessions` reads in a terminal of 100 columns."""

from __future__ import annotations

import pytest
from rich.console import Console

from fakes.operated import STARTED, make_session
from zethane.api.view import session_view
from zethane.cli import operate
from zethane.identity.proof import Proof, acting
from zethane.identity.session import Session


def on_device() -> Session:
    session = make_session(7, "user", "alice", "accounting", "10.0.0.21", "2001:db8:1:2:3:4:5:21")
    device = Proof("device", "alice-laptop", "dot1x", STARTED, aal=2)
    proofs = (*session.proofs, device)
    return Session(
        session.number, acting(proofs), session.attachment, session.addresses, session.segment, STARTED, proofs
    )


def test_every_proof_has_its_line_and_nothing_is_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminal(_: int) -> Console:
        return Console(width=100, highlight=False)

    monkeypatch.setattr(operate, "wide_console", terminal)
    row = operate._session_row(session_view(on_device()))
    operate.show({}, [row], operate.SESSION_COLUMNS, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for whole in ("user:alice", "device:alice-laptop", "02:00:00:00:00:07", "accounting", "never"):
        assert whole in text
    (user,) = [line for line in lines if "user:alice" in line]
    assert ("portal" in user, "1:7" in user) == (True, True)
