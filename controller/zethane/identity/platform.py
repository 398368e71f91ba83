"""What the platform says about its virtual interfaces, and which workload each of them is by that. Pure.

OpenStack, libvirt and OVN write into `external_ids` of an interface whose it is (Open vSwitch, IntegrationGuide):
`iface-id` names the virtual port, `attached-mac` its MAC address, `vm-uuid` the machine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from zethane.identity.directory import Directory
from zethane.net.endpoint import Attachment


@dataclass(frozen=True, slots=True)
class VirtualInterface:
    """An interface of a bridge: where it is, if that is known, and what the platform knows of it."""

    name: str
    dpid: int | None
    port: int | None
    mac: int
    iface_id: str | None
    vm_uuid: str | None

    @property
    def attachment(self) -> Attachment | None:
        """Where its frames come in: without a tag, as its machine sends them."""
        if self.dpid is None or self.port is None:
            return None
        return Attachment(self.dpid, self.port, 0, self.mac)

    @property
    def identity(self) -> tuple[int, str, str]:
        """All but its place."""
        return self.mac, self.iface_id or "", self.vm_uuid or ""


@dataclass(frozen=True, slots=True)
class Attested:
    """A workload at an attachment. `reference` is the platform's name for its port, `subject` that of its machine."""

    workload: str
    attachment: Attachment
    reference: str
    subject: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Why an interface is nobody's: `what` is a sentence for the log."""

    interface: str
    what: str


@dataclass(frozen=True, slots=True)
class Said:
    """What follows from the word of a platform: who is where, what nobody is, and what has no place at the moment."""

    attested: Mapping[Attachment, Attested] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    unplaced: frozenset[tuple[int, str, str]] = frozenset()


def attest(interfaces: Iterable[VirtualInterface], directory: Directory, switches: Set[int], others: Set[int]) -> Said:
    """Who is where, by the word of a platform that may vouch for `switches`; and what it cannot vouch for.

    Whatever could mean two things means nothing. `others` are the described switches that it may not vouch for.
    """
    known = list(interfaces)
    unplaced = frozenset(one.identity for one in known if one.attachment is None)
    findings = [
        Finding(one.name, f"it is at switch {one.dpid:016x}, for which this OVSDB may not vouch")
        for one in known
        if one.dpid in others
    ]
    known = [one for one in known if one.dpid in switches and one.port is not None]
    places = Counter((one.dpid, one.port) for one in known)
    fits: defaultdict[str, list[VirtualInterface]] = defaultdict(list)
    for one in known:
        named = directory.attested(one.iface_id, one.vm_uuid)
        if len(named) == 1 and places[one.dpid, one.port] == 1:
            fits[named[0]].append(one)
        elif named:
            what = f"it fits {', '.join(named[:4])}" if len(named) > 1 else "its port is another interface's as well"
            findings.append(Finding(one.name, what))
    found = {}
    for workload, at in fits.items():
        place = at[0].attachment
        if len(at) > 1:
            findings += [Finding(one.name, f"{workload} is at {len(at)} interfaces") for one in at[:4]]
        elif place is not None:
            found[place] = Attested(workload, place, at[0].iface_id or "", at[0].vm_uuid or "")
    return Said(found, tuple(findings), unplaced)
