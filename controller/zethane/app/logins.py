"""The logins of network.yaml: what each proves when all goes well, and what would keep it from that.

For the matrix, for the tests of a policy, and for the lab.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from pydantic import SecretStr

from zethane.document import Findings, closest, quote
from zethane.errors import Problem
from zethane.identity.directory import Device, Directory, User, Workload, secret_bytes
from zethane.identity.proof import Method, Proof, acting
from zethane.identity.sources.file import Sources
from zethane.network.model import Host, Login
from zethane.policy.decide import segment_of
from zethane.policy.model import Policy
from zethane.policy.principal import Principal

AT = 0.0
"""The moment of the login, for decisions without a clock: everything was proved just now."""

_AAL: dict[Method, int] = {"portal": 1, "dot1x": 1, "mab": 0, "oidc": 1, "certificate": 2, "attestation": 1}


def account_name(login: Login) -> str:
    """The name that the principal has: people of an OpenID provider carry its name, so that none can be another's."""
    return f"{login.name}@{login.provider}" if login.via == "oidc" else login.name


def fresh_proof(directory: Directory, login: Login) -> Proof:
    """The proof that the login ends in. Raises SessionError for whom the identities do not know."""
    principal = directory.principal(login.kind, account_name(login), login.mfa)
    aal = 2 if login.mfa or (login.via, login.eap) == ("dot1x", "tls") else _AAL[login.via]
    return Proof(
        principal.kind,
        principal.name,
        login.via,
        AT,
        aal=aal,
        mfa_at=AT if login.mfa else None,
        groups=principal.groups,
        labels=principal.labels,
    )


def host_principal(directory: Directory, host: Host) -> Principal | None:
    """Who acts on a host that has logged in as network.yaml says; None if nobody does, or may. Raises SessionError."""
    able = [login for login in reversed(host.logins) if not _is_disabled(directory, login)]
    proofs = tuple(fresh_proof(directory, login) for login in able)
    return acting(proofs) if proofs else None


def _entry(directory: Directory, login: Login) -> User | Workload | Device | None:
    """What the identities say of whose login it is."""
    return _entries(directory, login).get(account_name(login))


def _entries(directory: Directory, login: Login) -> Mapping[str, User | Workload | Device]:
    if login.kind == "user":
        return directory.users
    return directory.workloads if login.kind == "workload" else directory.devices


def _is_disabled(directory: Directory, login: Login) -> bool:
    """Whether the login is refused whatever is proved: that may come and go, and is no error of network.yaml."""
    entry = _entry(directory, login)
    return entry is not None and entry.disabled


def check_logins(host: Host, findings: Findings, directory: Directory, policy: Policy, sources: Sources) -> None:
    """Find what keeps the host's logins from ending in a session of one segment."""
    path = ("hosts", host.name, "login")
    places = [(*path, 0), (*path, 1)] if host.machine else [path]
    each = zip(host.logins, places[: len(host.logins)], strict=True)
    right = [_check_login(login, place, findings, directory, sources) for login, place in each]
    if not right or not all(right):
        return
    login = host.logins[-1]
    named = (*places[-1], login.kind)
    segment, why = segment_of(policy, host_principal(directory, host), "principal")
    if segment is None:
        message = f"{why.removeprefix('the ')}; expected exactly one segment of {policy.file}"
        findings.add(message, *named)
    elif host.vlan not in (0, policy.segments[segment].vlan):
        message = f"{login.name} is in segment {segment}, which is not in VLAN {host.vlan} by {policy.file}"
        findings.add(message, "hosts", host.name, "vlan")


def foreign_names(directory: Directory, sources: Sources) -> Iterator[Problem]:
    """Passwords of people for whom an OpenID provider vouches: with both, each could act as the other's."""
    for name, user in directory.users.items():
        provider = name.rpartition("@")[2] if "@" in name else ""
        if provider in sources.settings.oidc and user.password is not None:
            place = directory.place("user", name)
            message = f"expected no password: for whose name ends in @{provider} the OpenID provider {provider} vouches"
            yield Problem(place.file, message, place.line, place.column, place.key or None)


def _check_login(
    login: Login, path: tuple[str | int, ...], findings: Findings, directory: Directory, sources: Sources
) -> bool:
    """Hold one login against identities.yaml and sources.yaml; whether it can be."""
    entry = _entry(directory, login)
    if entry is None:
        findings.add(partial(_unknown_login, login, _entries(directory, login)), *path, login.kind)
        return False
    if entry.disabled:
        return False
    if login.totp is not None and not _same_totp(entry, login.totp):
        findings.add(f"expected the second factor that the identities give to {login.name}", *path, "totp")
        return False
    lacks = _lacking(login, entry, sources)
    if lacks:
        findings.add(lacks, *path, "via" if login.via != "portal" else login.kind)
    return not lacks


def _lacking(login: Login, entry: User | Workload | Device, sources: Sources) -> str:
    """What the files do not say, and would have to for this login; empty if it is all there."""
    settings = sources.settings
    if login.via == "portal" and _hash(entry) is None:
        return f"{login.name} has no password or secret in the identities; expected one, or another way to log in"
    if login.via == "dot1x" and settings.radius is None:
        return "sources.yaml has no section radius, which IEEE 802.1X needs"
    if login.via == "mab" and (not isinstance(entry, Device) or entry.mac is None):
        return f"expected a mac for the device {login.name} in the identities"
    if login.via == "oidc" and login.provider not in settings.oidc:
        return f"sources.yaml has no OpenID provider {quote(login.provider or '')} in its section oidc"
    if login.via == "certificate" and (settings.certificates is None or not _certified(entry)):
        return f"expected a section certificates in sources.yaml, and spiffe or dns for {login.name} in the identities"
    if login.via == "attestation" and (not settings.ovsdb or not isinstance(entry, Workload) or entry.attested is None):
        return f"expected a section ovsdb in sources.yaml, and attested for {login.name} in the identities"
    return ""


def _hash(entry: User | Workload | Device) -> SecretStr | None:
    if isinstance(entry, User):
        return entry.password
    return entry.secret if isinstance(entry, Workload) else None


def _certified(entry: User | Workload | Device) -> bool:
    return not isinstance(entry, User) and (entry.spiffe is not None or entry.dns is not None)


def _unknown_login(login: Login, entries: Mapping[str, User | Workload | Device]) -> str:
    name = account_name(login)
    near = closest(name, (other for other, entry in entries.items() if not entry.disabled))
    return f"no {login.kind} that may log in is named {quote(name)}{near}"


def _same_totp(entry: User | Workload | Device, totp: str) -> bool:
    theirs = entry.totp if isinstance(entry, User) else None
    return theirs is not None and secret_bytes(theirs) == secret_bytes(SecretStr(totp))
