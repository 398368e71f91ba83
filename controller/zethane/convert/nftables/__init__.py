"""What a policy says of one principal, as a ruleset of nftables for its own machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zethane.convert.loss import Ledger, Loss
from zethane.convert.nftables.entries import Entry, entries
from zethane.convert.nftables.known import Known
from zethane.convert.nftables.ruleset import ruleset
from zethane.policy.decide import name_of
from zethane.policy.model import Policy
from zethane.policy.principal import Principal

__all__ = ["Exported", "Known", "export_nftables"]

_NOTES = (
    "an address stands for whoever has it: that somebody is logged in there, and still is, a filter cannot see",
    "connections that are established go on when this is loaded anew; conntrack -F ends them",
    "DHCP by IPv6, DNS and whatever else the host needs for itself is closed unless the policy opens it",
    "what the host would forward for others is dropped",
)


@dataclass(frozen=True, slots=True)
class Exported:
    """The ruleset, what it does not say, and what its reader has to know."""

    text: str
    entries: tuple[Entry, ...]
    losses: tuple[Loss, ...]
    notes: tuple[str, ...]

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "ruleset": self.text,
            "rules": sorted({entry.rule.id for entry in self.entries}),
            "losses": [loss.view() for loss in self.losses],
            "notes": list(self.notes),
        }


def export_nftables(policy: Policy, principal: Principal, known: Known) -> Exported:
    """The ruleset that lets the principal's machine open, and be opened to, what the policy allows it.

    Nothing passes that the policy denies of the addresses known; what a filter cannot see is closed, and a loss.
    """
    ledger = Ledger()
    for note in _NOTES:
        ledger.note(note)
    staged = [rule.id for rule in policy.rules if rule.stage == "audit"]
    if staged:
        ledger.note(f"rules of the stage audit change nothing, and are left out: {', '.join(staged)}")
    if policy.stage == "audit":
        ledger.note("the policy is of the stage audit: this enforces it")
    found = entries(policy, principal, known, ledger)
    title = f"What {policy.file} (SHA-256 {policy.digest[:16]}…) says of {name_of(principal)}, for nft -f"
    losses = ledger.all_losses()
    remarks = (("Not expressed:", map(str, losses)), ("To know:", ledger.notes))
    text = ruleset(title, remarks, found, known.foreign, known.inside)
    return Exported(text, tuple(found), losses, tuple(ledger.notes))
