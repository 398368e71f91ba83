"""Sessions by the words for who is in them, found as the running controller finds them."""

from __future__ import annotations

from collections.abc import Iterable

from zethane.identity.session import Session
from zethane.identity.signals.keys import keys_of_session
from zethane.service.session_index import SessionIndex


def known_as(sessions: Iterable[Session], words: Iterable[str]) -> list[Session]:
    """What `ControllerFacade.sessions_known_as` answers where these are live."""
    live = {session.number: session for session in sessions}
    index = SessionIndex(keys_of_session, live.get)
    index.add(live.values())
    return list(index.sessions(word.casefold() for word in words))
