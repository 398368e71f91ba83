"""Client certificates in a running controller: the login, its files as they change, and how operators see them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from zethane.adapters.trust_files import Signature, TrustFiles
from zethane.app.running import Running
from zethane.errors import InputError
from zethane.service.certificate_login import CertificateLogin
from zethane.service.sources import SourceState, SourceView
from zethane.service.state import Clock

POLL = 1.0
"""Seconds between looks at the files. They are replaced by rename, through links, or on another machine's disk."""

_log = structlog.get_logger("zethane.certificates")


async def start_certificates(running: Running) -> CertificateLogin | None:
    """Start the login by certificate; None if there is no such section. Raises InputError for files that are wrong."""
    settings = running.topology.sources.settings.certificates
    if settings is None:
        return None
    files = TrustFiles(settings, running.topology.folder)
    signature = files.signature()
    login = CertificateLogin(
        running.controller,
        lambda: running.authenticator.directory,
        running.clock,
        running.journal.login_refused,
        await asyncio.to_thread(files.load),
    )
    await login.recheck()  # sessions of the last run may rest on what has been revoked since
    watcher = TrustWatcher(login, files, signature, running.clock)
    running.sources.register(watcher.view)
    running.spawn(watcher.watch())
    return login


class TrustWatcher:
    """Puts new authorities and revocations in force as soon as their files are there."""

    def __init__(self, login: CertificateLogin, files: TrustFiles, signature: Signature, clock: Clock) -> None:
        self._login = login
        self._files = files
        self._signature = signature
        self._clock = clock
        self._since = clock()
        self._problem = ""
        self._due = login.next_end

    async def watch(self) -> None:
        """Look at the files again and again, until cancelled."""
        while True:
            await asyncio.sleep(POLL)
            try:
                await self.look()
            except Exception:  # noqa: BLE001  # whatever is in a file, it is looked at again; lists end by themselves
                _log.exception("certificates-failed")

    async def look(self) -> None:
        """Read the files if one of them has changed; end what rests on a list that is not current any more."""
        signature = await asyncio.to_thread(self._files.signature)
        if signature != self._signature:
            # A file that changes while it is read has another signature at the next look.
            self._signature = signature
            await self._load()
        if self._due is not None and self._clock() >= self._due:
            _log.warning("revocations-not-current")
            await self._login.recheck()
        self._due = self._login.next_end
        await self._login.look()

    async def _load(self) -> None:
        try:
            trust = await asyncio.to_thread(self._files.load, self._login.trust)
        except InputError as error:
            # What is in force stays, and revocation lists end by themselves.
            self._problem = str(error.problems[0])
            _log.error("certificates-unread", problem=self._problem)
            return
        self._problem, self._since = "", self._clock()
        await self._login.use_trust(trust)
        revoked = sum(len(one.serials) for one in trust.revocations.values())
        _log.info("certificates-read", authorities=len(trust.anchors), revoked=revoked)

    def view(self) -> Sequence[SourceView]:
        """One source for the authorities, and one for the lists if there have to be any."""
        trust, now = self._login.trust, self._clock()
        state: SourceState = "degraded" if self._problem else "up"
        plural = "authority" if len(trust.anchors) == 1 else "authorities"
        views = [
            SourceView("ca", "certificates", state, self._since, self._problem or f"{len(trust.anchors)} {plural}")
        ]
        if trust.lists:
            current = [one for one in trust.revocations.values() if one.ends > now]
            missing = len(trust.anchors) - len(current)
            detail = f"{sum(len(one.serials) for one in current)} revoked"
            if missing:
                detail = f"no current list of {missing} of {len(trust.anchors)} {plural}"
            state = "down" if not current else "degraded" if missing else state
            views.append(SourceView("crl", "certificates", state, self._since, detail))
        return views
