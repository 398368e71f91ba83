"""Tags: no host chooses where its frames go, and none speaks the fabric's own language."""

from __future__ import annotations

from scapy.layers.l2 import Dot1AD, Dot1Q

from attack.frames import Packet, echo, ether, tcp
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("vlan", ATTACKS)
_SUCCESS = "a tagged frame reaches a host, with or without its tag"


def _inner(trial: Trial, attacker: str, token: bytes) -> tuple[Packet, Packet]:
    """What the tags are put around: a ping, and a SYN for the honest service, in the attacker's own name."""
    server = trial.cast.server
    source, target = trial.ip(attacker), trial.ip(server)
    return echo(source, target, token), tcp(source, target, 40003, trial.cast.service.port, "S", token)


def _hop(trial: Trial, label: str, tags: Packet) -> None:
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"{label} by {attacker}")
        head = ether(trial.mac(attacker), trial.mac(trial.cast.server)) / tags
        trial.send(attacker, [head / inner for inner in _inner(trial, attacker, token)])


def _fabric_tags(trial: Trial) -> list[int]:
    """The VLAN ids that mean a switch inside the fabric."""
    return [switch.number for switch in trial.arena.network.network.switches.values()]


@group.scenario(
    "vlan-one-tag",
    reference="IEEE 802.1Q",
    tried="frames with one tag, of an ordinary VLAN and of every switch's own number in the fabric",
    success=_SUCCESS,
    covers=("vlan-one",),
    quick=True,
)
def one_tag(trial: Trial) -> None:
    """The tag that names a switch would send the frame straight through the fabric."""
    for vlan in (*_fabric_tags(trial), 100, 4094):
        _hop(trial, f"VLAN {vlan}", Dot1Q(vlan=vlan))


@group.scenario(
    "vlan-two-tags",
    reference="Taylor, VLAN hopping (1999); IEEE 802.1Q",
    tried="frames with two tags of 802.1Q, the outer or the inner one of a switch in the fabric",
    success=_SUCCESS,
    covers=("vlan-two",),
    quick=True,
)
def two_tags(trial: Trial) -> None:
    """A switch that takes one tag off leaves the other."""
    own = _fabric_tags(trial)[-1]
    for outer, inner in ((1, own), (own, 1), (own, own), (0, own), (100, 200)):
        _hop(trial, f"VLANs {outer} and {inner}", Dot1Q(vlan=outer) / Dot1Q(vlan=inner))


@group.scenario(
    "vlan-802.1ad",
    reference="IEEE 802.1ad",
    tried="frames with a service tag alone, and in front of a customer tag",
    success=_SUCCESS,
    covers=("vlan-ad",),
    quick=True,
)
def provider(trial: Trial) -> None:
    """TPID 0x88a8 instead of 0x8100."""
    own = _fabric_tags(trial)[-1]
    _hop(trial, "service tag", Dot1AD(vlan=own))
    _hop(trial, "service and customer tag", Dot1AD(vlan=100) / Dot1Q(vlan=own))
    _hop(trial, "service tag twice", Dot1AD(vlan=own) / Dot1AD(vlan=own))


@group.scenario(
    "vlan-priority-tag",
    reference="IEEE 802.1Q §6.9",
    tried="frames with VLAN 0 and a priority, in one tag and in two",
    success=_SUCCESS,
    covers=("vlan-priority",),
    quick=True,
)
def priority(trial: Trial) -> None:
    """VLAN 0 means no VLAN: some devices take such a frame as untagged after they have looked at its tag."""
    _hop(trial, "priority tag", Dot1Q(vlan=0, prio=7))
    _hop(trial, "priority tag twice", Dot1Q(vlan=0, prio=7) / Dot1Q(vlan=0, prio=7))
