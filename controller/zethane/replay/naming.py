"""What people write for who has an address: `user:alice`, `segment:web`, `outside`, and how it is understood."""

from __future__ import annotations

import re
from dataclasses import replace

from zethane.app.topology import Topology
from zethane.document import closest, quote
from zethane.errors import InputError, SessionError
from zethane.identity.directory import Directory
from zethane.policy.decide import name_of
from zethane.policy.model import Policy, Segment
from zethane.policy.principal import DeviceFacts, Party, Principal
from zethane.replay.attribution import Entity

EXPECTED = "expected user:NAME, workload:NAME, device:NAME, host:NAME, segment:NAME or outside"

_TEXT = re.compile(r"(user|workload|device|host|segment):([^\s]{1,64})(?: on ([^\s]{1,64}))?(?: (with|without) mfa)?")


class Names:
    """Understands what is written, by the files of a topology and a policy, which may be another than its own."""

    def __init__(self, topology: Topology, policy: Policy) -> None:
        self._topology = topology
        self._directory: Directory = topology.directory
        self._policy = policy

    def entity(self, text: str, source: str) -> Entity:
        """Who is meant; `source` says where that is written. Raises ValueError that says what was expected.

        A user has her second factor and no device unless `without mfa` and `on DEVICE` say otherwise; one member of a
        segment stands for all of them and has no second factor unless `with mfa` says so.
        """
        if text == "outside":
            return Entity("", source, is_outside=True)
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{EXPECTED}, found {quote(text)}")
        kind, name, device, mfa = match.groups()
        if kind == "host":
            if device or mfa:
                raise ValueError(f"expected host:{name} alone: network.yaml says how it logs in")
            return self._host(name, source)
        principal = self._member(name) if kind == "segment" else self._principal(kind, name)
        if device is not None:
            principal = replace(principal, device=self._device(device))
        if mfa is not None:
            principal = _with_factor(principal, has=mfa == "with")
        return Entity(f"segment:{name}" if kind == "segment" else name_of(principal), source, principal)

    def _host(self, name: str, source: str) -> Entity:
        if name not in self._topology.hosts:
            raise ValueError(f"no host is named {quote(name)}{closest(name, self._topology.hosts)}")
        party: Party
        try:
            party = self._topology.host_principal(name)
        except (InputError, SessionError):
            party = None
        return Entity(name_of(party) if isinstance(party, Principal) else name, source, party)

    def _principal(self, kind: str, name: str) -> Principal:
        known = {
            "user": self._directory.users,
            "workload": self._directory.workloads,
            "device": self._directory.devices,
        }
        entry = known[kind].get(name)
        if entry is None:
            raise ValueError(f"no {kind} is named {quote(name)}{closest(name, known[kind])}")
        mfa = getattr(entry, "totp", None) is not None
        try:
            return self._directory.principal(kind, name, mfa)  # type: ignore[arg-type]  # the words are its kinds
        except SessionError as error:
            raise ValueError(str(error)) from None

    def _device(self, name: str) -> DeviceFacts:
        found = next((facts for facts in self._directory.known_devices() if facts.name == name), None)
        if found is None:
            raise ValueError(f"no device is named {quote(name)}{closest(name, self._directory.devices)}")
        return found

    def _member(self, name: str) -> Principal:
        segment = self._policy.segments.get(name)
        if segment is None:
            raise ValueError(f"no segment is named {quote(name)}{closest(name, self._policy.segments)}")
        for member in _members(segment):
            if self._policy.segments_of(member) == (name,):
                return member
        raise ValueError(f"who has no more than what segment {name} asks for is in another segment as well")


def _members(segment: Segment) -> list[Principal]:
    """Principals that have exactly what the segment asks for."""
    named = f"any-of-{segment.name}"
    if not segment.groups:
        return [Principal("workload", named, labels=segment.labels)]
    return [Principal("user", named, frozenset((group,)), segment.labels) for group in sorted(segment.groups)]


def _with_factor(principal: Principal, *, has: bool) -> Principal:
    if has:
        return replace(principal, mfa=True, mfa_at=0.0, aal=max(principal.aal, 2))
    return replace(principal, mfa=False, mfa_at=None, aal=min(principal.aal, 1))
