"""The cabling of a run: its bridges, what is plugged in where, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import openvswitch
from lab.ledger import Ledger
from lab.legacy import LegacySwitch, legacy_switches
from lab.names import Names
from lab.nodes import LabHost, LabMininet, LabSwitch
from lab.openvswitch import Bridge
from lab.shell import run
from zethane.network.model import Host, Infrastructure, Link, Network, Portal, Switch, Uplink


class Cabling:
    """Of one network. Whatever it makes is in the ledger before; `tag` marks the processes of the run."""

    def __init__(self, network: Network, mininet: LabMininet, ledger: Ledger, tag: Mapping[str, str]) -> None:
        self.names = Names(ledger.run_id)
        self.legacy = legacy_switches(network, self.names)
        self._network = network
        self._mininet = mininet
        self._ledger = ledger
        self._tag = tag
        self._bridges: list[Bridge] = []

    def bridge(self, switch: str) -> str:
        """The name of a switch's bridge."""
        return self.names.bridge(switch, self._network.switches[switch].number)

    def port(self, switch: str, number: int) -> str:
        """The name of the interface at a port of a switch."""
        return self.names.port(self._network.switches[switch].number, number)

    def legacy_switches(self) -> list[LegacySwitch]:
        """Each once, in the order of its first host."""
        return list({legacy.bridge: legacy for legacy in self.legacy.values()}.values())

    def add_switch(self, switch: Switch) -> None:
        """A bridge, without ports."""
        name = self.bridge(switch.name)
        self._ledger.note("bridge", name)
        self._mininet.addSwitch(name, cls=LabSwitch, dpid=f"{switch.dpid:016x}", tag=self._tag)

    def add_legacy_switch(self, legacy: LegacySwitch) -> None:
        """A bridge that knows no controller, at a port of a switch."""
        plugged = self.port(legacy.switch, legacy.port)
        self._ledger.note("bridge", legacy.bridge)
        self._ledger.note("interface", legacy.trunk, plugged)
        # Mininet asks for a datapath id and does nothing with it; the bridge has one of its own.
        number = self._network.switches[legacy.switch].number
        dpid = f"{1 << 63 | number << 16 | legacy.port:016x}"
        node = self._mininet.addSwitch(legacy.bridge, cls=LabSwitch, dpid=dpid, tag=self._tag)
        bridge = self._mininet[self.bridge(legacy.switch)]
        self._mininet.addLink(node, bridge, port1=1, port2=legacy.port, intfName1=legacy.trunk, intfName2=plugged)

    def add_host(self, name: str, place: Host | Portal | Infrastructure | Uplink) -> tuple[Any, str]:
        """A namespace that is plugged in at its place: Mininet's node, and its interface."""
        node = self._mininet.addHost(name, cls=LabHost, ip=None, tag=self._tag)
        inside = self.names.host(len(self._mininet.hosts))
        port, number = self.port(place.switch, place.port), place.port
        bridge = self._mininet[self.bridge(place.switch)]
        if legacy := self.legacy.get(name):
            port, number = legacy.access[name], legacy.port_of(name)
            bridge = self._mininet[legacy.bridge]
        self._ledger.note("interface", inside, port)
        self._mininet.addLink(node, bridge, port1=0, port2=number, intfName1=inside, intfName2=port)
        return node, inside

    def add_link(self, link: Link) -> None:
        """A link between two bridges."""
        names = [self.port(*link.a), self.port(*link.b)]
        self._ledger.note("interface", *names)
        ends = [self._mininet[self.bridge(switch)] for switch, _ in (link.a, link.b)]
        self._mininet.addLink(*ends, port1=link.a[1], port2=link.b[1], intfName1=names[0], intfName2=names[1])

    def start(self, *, secure: bool) -> None:
        """Make the bridges of Open vSwitch, with all that is plugged in.

        `secure`: without a controller nothing passes.
        """
        bridges = []
        for switch in self._network.switches.values():
            attached = [port for port in switch.ports.values() if self._is_attached(switch, port.number)]
            ports = {port.number: self.port(switch.name, port.number) for port in attached}
            trunks = frozenset(port.number for port in attached if port.role == "trunk")
            bridges.append(Bridge(self.bridge(switch.name), switch.dpid, ports, trunks))
        legacy = self.legacy_switches()
        names = [name for bridge in bridges for name in bridge.ports.values()]
        names += [name for one in legacy for name in (one.trunk, *one.access.values())]
        for name in names:
            run(["ethtool", "-K", name, "tx", "off", "rx", "off"])
            _keep_kernel_quiet(name)
        run(["ip", "-batch", "-"], text_in="".join(f"link set dev {name} up\n" for name in names))
        openvswitch.create(bridges, run_id=self._ledger.run_id, secure=secure)
        openvswitch.create_legacy(legacy, run_id=self._ledger.run_id)
        self._bridges = bridges

    def is_spanning(self) -> bool:
        """Whether bridges that forward by themselves have settled where."""
        return openvswitch.is_spanning(self._bridges)

    def _is_attached(self, switch: Switch, number: int) -> bool:
        """Ports that are only declared have nothing behind them in the lab."""
        port = switch.ports[number]
        if port.role == "uplink":
            return any((one.switch, one.port) == (switch.name, number) for one in self._network.uplinks.values())
        if port.role == "infrastructure":
            servers = self._network.infrastructure.values()
            return any((one.switch, one.port) == (switch.name, number) for one in servers)
        return port.host is not None or port.peer is not None or port.role == "portal"

    def set_link(self, link: Link, *, up: bool) -> None:
        """Take both ends of a link up or down."""
        for end in (link.a, link.b):
            self.set_port(*end, up=up)

    def set_port(self, switch: str, number: int, *, up: bool) -> None:
        """Take a port of a switch up or down."""
        run(["ip", "link", "set", "dev", self.port(switch, number), "up" if up else "down"])


def _keep_kernel_quiet(interface: str) -> None:
    """This machine's own IPv6 would send router solicitations out of a switch's port, past the switch."""
    setting = Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
    if setting.exists():
        setting.write_text("1", encoding="ascii")
