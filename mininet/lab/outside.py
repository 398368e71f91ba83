"""What the lab puts behind uplinks: routers with the addresses of hosts outside, and everybody's routes to there.

A router's namespace holds the addresses of all that is behind it, so that nothing has to be forwarded; each name there
is a host of its own, which probes and is probed.
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.errors import LabError
from lab.host import RunningHost
from lab.shell import run
from zethane.network.model import Interface, Uplink

_QUIET = "for name in all eth0; do echo 2 > /proc/sys/net/ipv4/conf/$name/arp_announce; done"
"""A router asks for neighbours from its own address, whatever address the packet is from (ip-sysctl.rst)."""


def put_behind(router: RunningHost, uplink: Uplink) -> dict[str, RunningHost]:
    """Give a router the addresses behind it; the hosts there by name. Raises LabError."""
    if uplink.vlan:
        raise LabError(f"{uplink.name} wants a tag: this lab's routers have none")
    inside = ["mnexec", "-a", str(router.pid)]
    run([*inside, "sh", "-c", _QUIET], env=router.node.tag)
    add_addresses(router, uplink)
    return {
        name: RunningHost(name, router.node, interfaces, None, router.codes)
        for name, interfaces in uplink.hosts.items()
    }


def add_addresses(router: RunningHost, uplink: Uplink) -> None:
    """Give a router's namespace the addresses behind it. Raises LabError."""
    addresses = [interface for interfaces in uplink.hosts.values() for interface in interfaces]
    lines = [f"address add {one.ip} dev lo{' nodad' if one.version == 6 else ''}\n" for one in dict.fromkeys(addresses)]
    run(["mnexec", "-a", str(router.pid), "ip", "-batch", "-"], text_in="".join(lines), env=router.node.tag)


def routes(interfaces: Iterable[Interface], uplinks: Iterable[Uplink]) -> list[str]:
    """What `ip` is told for a host with these addresses; of two uplinks to one network the first is the way."""
    own = tuple(interfaces)
    found: dict[str, str] = {}
    for uplink in uplinks:
        for network in uplink.networks:
            via = next(
                (
                    router.ip
                    for router in uplink.interfaces
                    for one in own
                    if router.network == one.network and router.version == network.version
                ),
                None,
            )
            if via is not None:
                found.setdefault(str(network), f"route add {network} via {via} dev eth0")
    return list(found.values())


def add_routes(host: RunningHost, uplinks: Iterable[Uplink]) -> None:
    """Tell a host the ways outside. Raises LabError."""
    if lines := routes(host.interfaces, uplinks):
        inside = ["mnexec", "-a", str(host.pid), "ip", "-batch", "-"]
        run(inside, text_in="\n".join(lines) + "\n", env=host.node.tag)
