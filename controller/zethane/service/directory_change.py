"""Another version of identities.yaml: what it means for live sessions."""

from __future__ import annotations

from dataclasses import replace

from zethane.audit.reason import SessionEvent
from zethane.errors import CapacityError
from zethane.identity.directory import Device, Directory, User, Workload
from zethane.identity.proof import Proof
from zethane.service.session_life import SessionLife
from zethane.service.sessions import Live
from zethane.service.state import State

FROM_FILE = frozenset(("portal", "certificate", "attestation", "mab"))
"""The methods whose principals, with their groups and labels, are those of the file. Who proves herself to a RADIUS
server or an OpenID provider is what that says, unless the file has disabled the name."""

Entry = User | Device | Workload


def use_directory(state: State, life: SessionLife, directory: Directory) -> None:
    """Put a directory in force: for logins from now on, and for every live session."""
    before, state.accounts.directory = state.accounts.directory, directory
    for live in state.sessions:
        for proof in live.session.proofs:
            _hold(state, life, live, proof, before)
        device, is_live = live.session.device, live.session.number in state.sessions.by_number
        if is_live and device is not None and directory.is_disabled("device", device):
            life.end(live, SessionEvent.DISABLED, f"device:{device} is disabled")


def _hold(state: State, life: SessionLife, live: Live, proof: Proof, before: Directory | None) -> None:
    """Hold one proof against the directory that is in force now."""
    if live.session.number not in state.sessions.by_number or state.accounts.directory is None:
        return
    entry = state.accounts.directory.entry(proof.kind, proof.name)
    by_file = proof.method in FROM_FILE and not (proof.method == "portal" and proof.issuer)
    if (entry is None and by_file) or (entry is not None and entry.disabled):
        why = f"{proof.account} is {'not in the file any more' if entry is None else 'disabled'}"
        if proof.kind == "device":
            life.end(live, SessionEvent.DISABLED, why)  # whoever is on it
        else:
            life.leave(live, (proof,), SessionEvent.DISABLED, why)
        return
    if entry is None or not by_file:
        return
    old = before.entry(proof.kind, proof.name) if before is not None else None
    if old is not None and _credential(old, proof) != _credential(entry, proof):
        life.leave(live, (proof,), SessionEvent.CREDENTIAL_REVOKED, f"{proof.account} has another credential")
        return
    changed = replace(proof, groups=frozenset(entry.groups), labels=tuple(sorted(entry.labels.items())))
    if changed != proof:
        try:
            life.change_proof(live.session.number, proof, changed, SessionEvent.CHANGED, "identities.yaml")
        except CapacityError:
            life.end(live, SessionEvent.CHANGED, "identities.yaml")


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
