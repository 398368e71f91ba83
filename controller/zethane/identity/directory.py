"""identities.yaml: the users, devices and workloads that the embedded identity provider knows.

Password and secret hashes are argon2id (RFC 9106) in the PHC string format; second factors are TOTP secrets
(RFC 6238) in base32 (RFC 4648 §6). Neither appears in a repr or an error.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from zethane.document import Document, Findings, Model, Place, closest, parse, quote
from zethane.errors import SessionError
from zethane.policy.principal import DeviceFacts, Principal, PrincipalKind
from zethane.policy.schema import LabelKey, LabelValue, Name

MIN_TOTP_BITS = 80
"""RFC 4226 §4 asks for 128 bits; authenticator apps commonly make 80."""

MAX_MEMORY = 1024 * 1024
"""KiB that checking one password may take."""

MAX_TIME = 64
MAX_LANES = 16
MAX_PRINCIPALS = 20_000
"""Entries of each kind."""

_HASH = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,3}),p=([0-9]{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}"
)
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")

PrincipalName = Annotated[str, StringConstraints(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]*$")]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=32)]
Groups = Annotated[tuple[Name, ...], Field(max_length=64)]


def _check_hash(secret: SecretStr) -> SecretStr:
    match = _HASH.fullmatch(secret.get_secret_value())
    if match is None:
        raise ValueError('expected an argon2id hash in quotes ("$argon2id$v=19$m=…"); zethane identity hash makes one')
    memory, passes, lanes = (int(number) for number in match.groups())
    if not (1 <= lanes <= MAX_LANES and 1 <= passes <= MAX_TIME and 8 * lanes <= memory <= MAX_MEMORY):
        raise ValueError(
            f"expected argon2id with m from 8p to {MAX_MEMORY}, t at most {MAX_TIME} and p at most {MAX_LANES}"
        )
    return secret


def _check_totp(secret: SecretStr) -> SecretStr:
    if not secret_bytes(secret) or len(secret_bytes(secret)) * 8 < MIN_TOTP_BITS:
        raise ValueError(f"expected a base32 secret (A-Z, 2-7) of at least {MIN_TOTP_BITS} bits")
    return secret


def secret_bytes(secret: SecretStr) -> bytes:
    """The key in a TOTP secret, with or without padding; empty if it is no base32."""
    text = secret.get_secret_value().rstrip("=")
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        return b""


def _check_mac(text: str) -> str:
    if not _MAC.fullmatch(text):
        raise ValueError("expected a MAC address in quotes, six pairs of hexadecimal digits: 02:00:00:00:00:15")
    if int(text[:2], 16) & 1:
        raise ValueError("expected the MAC address of one card, found a group address")
    return text


Hash = Annotated[SecretStr, Field(max_length=512), AfterValidator(_check_hash)]
Totp = Annotated[SecretStr, Field(max_length=128), AfterValidator(_check_totp)]
Mac = Annotated[str, Field(max_length=17), AfterValidator(_check_mac)]


SpiffeId = Annotated[str, StringConstraints(max_length=2048, pattern=r"^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+$")]
"""SPIFFE ID §2, with a path."""
DnsName = Annotated[str, StringConstraints(max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")]
Platform = Annotated[str, StringConstraints(max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]*$")]


class User(Model):
    """A person. `totp` is the second factor; a disabled user can have no session.

    Without a password the user is known here, and proves herself to another source only.
    """

    groups: Groups = ()
    labels: Labels = Field(default_factory=dict)
    password: Hash | None = None
    totp: Totp | None = None
    disabled: bool = False


class Attested(Model):
    """By what the platform knows a port to be this workload's: all that is named has to fit."""

    iface_id: Platform | None = None
    vm_uuid: Platform | None = None

    @model_validator(mode="after")
    def _something(self) -> Attested:
        if self.iface_id is None and self.vm_uuid is None:
            raise ValueError("expected iface_id, vm_uuid or both: nothing would fit every port")
        return self


class Certified(Model):
    """What can be proved by a client certificate: the SPIFFE ID or a SAN dNSName that names it."""

    spiffe: SpiffeId | None = None
    dns: DnsName | None = None


class Device(Certified):
    """A machine that is known, and whose it is. A MAC address is a hint and no proof; a certificate is one."""

    mac: Mac | None = None
    owner: PrincipalName | None = None
    groups: Groups = ()
    labels: Labels = Field(default_factory=dict)
    disabled: bool = False


class Workload(Certified):
    """A service that logs in by itself: with a secret, a certificate, or on the word of the platform it runs on."""

    groups: Groups = ()
    labels: Labels = Field(default_factory=dict)
    secret: Hash | None = None
    attested: Attested | None = None
    disabled: bool = False


class IdentitiesFile(Model):
    """All of identities.yaml."""

    users: dict[PrincipalName, User] = Field(default_factory=dict, max_length=MAX_PRINCIPALS)
    devices: dict[PrincipalName, Device] = Field(default_factory=dict, max_length=MAX_PRINCIPALS)
    workloads: dict[PrincipalName, Workload] = Field(default_factory=dict, max_length=MAX_PRINCIPALS)


@dataclass(frozen=True, slots=True)
class Directory:
    """Everybody that the provider knows, by name."""

    users: Mapping[str, User]
    devices: Mapping[str, Device]
    workloads: Mapping[str, Workload]
    _by_mac: Mapping[int, str]
    _places: Mapping[tuple[PrincipalKind, str], Place]
    _by_certificate: Mapping[str, tuple[PrincipalKind, str]] = field(default_factory=dict)
    _by_platform: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def principal(self, kind: PrincipalKind, name: str, mfa: bool) -> Principal:
        """The principal that has proved itself at the moment 0.0, with (`mfa`) or without a second factor.

        That is assurance level 2, or 1 (NIST SP 800-63B); what it holds of a session is for `Proof` to say.

        Raises SessionError if there is none of this name, or if it is disabled.
        """
        entry = self.entry(kind, name)
        if entry is None or entry.disabled:
            raise SessionError(f"no {kind} that may log in is named {quote(name)}")
        labels = tuple(sorted(entry.labels.items()))
        return Principal(kind, name, frozenset(entry.groups), labels, mfa, 0.0 if mfa else None, 2 if mfa else 1)

    def is_disabled(self, kind: PrincipalKind, name: str) -> bool:
        """Whether the file names this principal and says that it may have no session."""
        entry = self.entry(kind, name)
        return entry is not None and entry.disabled

    def device_at(self, mac: int) -> str | None:
        """The name of the device with this MAC address (an integer of 48 bits)."""
        return self._by_mac.get(mac)

    def certified(self, name: str) -> tuple[PrincipalKind, str] | None:
        """Kind and name of the device or workload whose certificates carry this SPIFFE ID or DNS name."""
        return self._by_certificate.get(name)

    def attested(self, iface_id: str | None, vm_uuid: str | None) -> list[str]:
        """The workloads that may have a session and that a virtual interface fits: all that they name has to be so."""
        keys = (("iface_id", iface_id), ("vm_uuid", vm_uuid))
        candidates = {name for key, value in keys if value for name in self._by_platform.get((key, value), ())}
        found = []
        for name in candidates:
            wanted = self.workloads[name].attested
            if wanted is None or self.workloads[name].disabled:
                continue
            if wanted.iface_id in (None, iface_id) and wanted.vm_uuid in (None, vm_uuid):
                found.append(name)
        return sorted(found)

    def population(self) -> Iterator[tuple[Principal, Place]]:
        """Everybody who can have a session, with all the factors they have, and where the file says so.

        That is everybody who is not disabled. A device has a session until somebody logs in at it.
        """
        for name, user in self.users.items():
            if not user.disabled:
                yield self.principal("user", name, user.totp is not None), self.place("user", name)
        for name, workload in self.workloads.items():
            if not workload.disabled:
                yield self.principal("workload", name, False), self.place("workload", name)
        for name, device in self.devices.items():
            if not device.disabled:
                yield self.principal("device", name, False), self.place("device", name)

    def known_devices(self) -> Iterator[DeviceFacts]:
        """Every device that is not disabled, with nothing measured."""
        for name, device in self.devices.items():
            if not device.disabled:
                yield DeviceFacts(name, frozenset(device.groups), tuple(sorted(device.labels.items())))

    def place(self, kind: PrincipalKind, name: str) -> Place:
        """Where the file names this principal. Raises KeyError if it does not."""
        return self._places[kind, name]

    def entry(self, kind: PrincipalKind, name: str) -> User | Device | Workload | None:
        """What the file says of a principal; None if it does not name it."""
        if kind == "user":
            return self.users.get(name)
        return self.devices.get(name) if kind == "device" else self.workloads.get(name)


def parse_identities(text: str, file: str) -> Directory:
    """The directory in `text`; `file` only names it in problems. Raises InputError with all that is wrong."""
    document = parse(text, file, IdentitiesFile)
    identities = document.value
    findings = Findings(document)
    by_mac: dict[int, str] = {}
    for name, device in identities.devices.items():
        if device.owner is not None and device.owner not in identities.users:
            findings.add(partial(_unknown_owner, device.owner, identities.users), "devices", name, "owner")
        if device.mac is None:
            continue
        mac = int(device.mac.replace(":", ""), 16)
        if mac in by_mac:
            findings.add(f"device {by_mac[mac]} has this MAC already", "devices", name, "mac")
        by_mac.setdefault(mac, name)
    by_certificate = _by_certificate(identities, findings)
    findings.raise_any()
    places = _places(document)
    by_platform = _by_platform(identities.workloads)
    return Directory(
        identities.users, identities.devices, identities.workloads, by_mac, places, by_certificate, by_platform
    )


def _by_platform(workloads: Mapping[str, Workload]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The workloads that name a virtual port or a virtual machine."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, workload in workloads.items():
        for key in ("iface_id", "vm_uuid"):
            value = getattr(workload.attested, key, None)
            if value is not None:
                found[key, value] = (*found.get((key, value), ()), name)
    return found


def _by_certificate(identities: IdentitiesFile, findings: Findings) -> dict[str, tuple[PrincipalKind, str]]:
    """Who is meant by a SPIFFE ID, or by a DNS name in lower case: never two."""
    kinds: tuple[tuple[PrincipalKind, Mapping[str, Certified]], ...] = (
        ("device", identities.devices),
        ("workload", identities.workloads),
    )
    found: dict[str, tuple[PrincipalKind, str]] = {}
    for kind, entries in kinds:
        for name, entry in entries.items():
            for key, given in (("spiffe", entry.spiffe), ("dns", entry.dns.lower() if entry.dns else None)):
                if given is None:
                    continue
                if given in found:
                    findings.add(f"{' '.join(found[given])} has this name already", f"{kind}s", name, key)
                found.setdefault(given, (kind, name))
    return found


def _unknown_owner(owner: str, users: Iterable[str]) -> str:
    return f"no user is named {quote(owner)}{closest(owner, users)}"


def _places(document: Document[IdentitiesFile]) -> dict[tuple[PrincipalKind, str], Place]:
    """Where each principal is named. The document itself, with the secrets in it, is not kept."""
    kinds: tuple[tuple[PrincipalKind, Iterable[str]], ...] = (
        ("user", document.value.users),
        ("device", document.value.devices),
        ("workload", document.value.workloads),
    )
    return {(kind, name): document.where(f"{kind}s", name, key=True) for kind, names in kinds for name in names}
