"""Another version of identities.yaml: what it means for live sessions."""

from __future__ import annotations

from dataclasses import replace

from zethane.audit.reason import SessionEvent
from zethane.identity.directory import Device, Directory, User, Workload
from zethane.identity.proof import Proof
from zethane.service.session_life import SessionLife
from zethane.service.sessions import Live
from zethane.service.slices import in_slices
from zethane.service.state import State

ALWAYS_FROM_FILE = frozenset(("certificate", "attestation"))
"""Methods whose principals, with their groups and labels, are those of the file, whoever vouches for them."""

ADDED_TO = frozenset(("dot1x", "mab", "oidc"))
"""Methods whose principals have what the file says of them besides what a RADIUS server or an OpenID provider says.
All of them are out if the file has disabled the name."""

Entry = User | Device | Workload


async def use_directory(state: State, life: SessionLife, directory: Directory) -> None:
    """Put a directory in force: for logins from now on, and for every live session, a few at a time."""
    accounts, since = state.accounts, state.clock()
    before = accounts.held or accounts.directory
    accounts.directory = directory
    async for live in in_slices(state.sessions):
        for proof in live.session.proofs:
            # What was proved since then was proved by this directory; not so what a clock put back makes look like it.
            is_new = since < proof.at <= state.clock()
            _hold(state, life, live, proof, directory if is_new else before)
        device, is_live = live.session.device, live.session.number in state.sessions.by_number
        if is_live and device is not None and directory.is_disabled("device", device):
            life.end(live, SessionEvent.DISABLED, f"device:{device} is disabled")
    accounts.held = directory


def _hold(state: State, life: SessionLife, live: Live, proof: Proof, before: Directory | None) -> None:
    """Hold one proof against the directory that is in force now."""
    if live.session.number not in state.sessions.by_number or state.accounts.directory is None:
        return
    entry = state.accounts.directory.entry(proof.kind, proof.name)
    by_file = proof.method in ALWAYS_FROM_FILE or (proof.method in ("portal", "mab") and not proof.issuer)
    if (entry is None and by_file) or (entry is not None and entry.disabled):
        why = f"{proof.account} is {'not in the file any more' if entry is None else 'disabled'}"
        if proof.kind == "device":
            life.end(live, SessionEvent.DISABLED, why)  # whoever is on it
        else:
            life.leave(live, (proof,), SessionEvent.DISABLED, why)
        return
    old = before.entry(proof.kind, proof.name) if before is not None else None
    if by_file and entry is not None and old is not None and _credential(old, proof) != _credential(entry, proof):
        life.leave(live, (proof,), SessionEvent.CREDENTIAL_REVOKED, f"{proof.account} has another credential")
        return
    changed = proof
    if by_file and entry is not None:
        changed = replace(proof, groups=frozenset(entry.groups), labels=tuple(sorted(entry.labels.items())))
    elif proof.method in ADDED_TO and old is not None:
        changed = _with_other(proof, old, entry)
    if changed != proof:
        life.change_proof(live.session.number, proof, changed, SessionEvent.CHANGED, "identities.yaml")


def _with_other(proof: Proof, old: Entry, new: Entry | None) -> Proof:
    """A proof that has what one version of an entry says besides its own, with another version in its place."""
    groups = (proof.groups - frozenset(old.groups)) | frozenset(new.groups if new is not None else ())
    own = dict(proof.labels).items() - old.labels.items()
    labels = (new.labels if new is not None else {}) | dict(own)
    return replace(proof, groups=groups, labels=tuple(sorted(labels.items())))


def _credential(entry: Entry, proof: Proof) -> object:
    """What of an entry a proof by this method rests on."""
    if proof.method == "certificate":
        return (entry.spiffe, entry.dns) if not isinstance(entry, User) else None
    if proof.method == "attestation":
        return entry.attested if isinstance(entry, Workload) else None
    if proof.method == "mab":
        return entry.mac if isinstance(entry, Device) else None
    if isinstance(entry, User):
        secrets = entry.password if "pwd" in proof.amr else None, entry.totp if "otp" in proof.amr else None
        return tuple(secret.get_secret_value() if secret is not None else None for secret in secrets)
    secret = entry.secret if isinstance(entry, Workload) else None
    return secret.get_secret_value() if secret is not None else None
