"""What may exist only once in a network: datapath ids, MAC addresses, IP addresses, a subnet per family."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from zethane.network.addresses import Subnet
from zethane.network.model import Interface

Place = tuple[str | int, ...]
Report = Callable[[Place, str], None]


class Claims:
    """Who has what. A second claim is reported at the place of the second."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._dpids: dict[int, str] = {}
        self._macs: dict[int, str] = {}
        self._addresses: dict[IPv4Address | IPv6Address, tuple[str, Interface, Place]] = {}
        self._subnets: dict[int, tuple[Subnet, str]] = {}
        self._compared: set[IPv4Address | IPv6Address] = set()

    @property
    def interfaces(self) -> list[Interface]:
        """Every address claimed so far, in the order of the claims."""
        return [interface for _, interface, _ in self._addresses.values()]

    @property
    def taken(self) -> frozenset[object]:
        """Every IP address claimed so far."""
        return frozenset(self._addresses)

    def dpid(self, dpid: int, switch: str, place: Place) -> None:
        """A switch's datapath id."""
        other = self._dpids.setdefault(dpid, switch)
        if other != switch:
            self._report(place, f"datapath id {dpid:016x} is that of {other} already; expected one of its own")

    def mac(self, mac: int, owner: str, place: Place) -> None:
        """The MAC address of a host or of the portal."""
        other = self._macs.setdefault(mac, owner)
        if other != owner:
            text = ":".join(f"{byte:02x}" for byte in mac.to_bytes(6, "big"))
            self._report(place, f"{text} is the MAC address of {other} already; expected one of its own")

    def address(self, interface: Interface, owner: str, place: Place) -> bool:
        """An IP address of a host or of the portal. False if something has it already."""
        if interface.ip in self._addresses:
            other = self._addresses[interface.ip][0]
            self._report(place, f"{interface.ip} is the address of {other} already; expected one of its own")
            return False
        self._addresses[interface.ip] = (owner, interface, place)
        return True

    def one_subnet_per_family(self) -> None:
        """Every address of a family lies in the subnet of the first one. Each is looked at once."""
        for ip, (owner, interface, place) in self._addresses.items():
            if ip in self._compared:
                continue
            self._compared.add(ip)
            subnet, first = self._subnets.setdefault(interface.version, (interface.network, owner))
            if interface.network != subnet:
                message = f"{interface} is not in {subnet}, the network of {first}; expected one subnet for all"
                self._report(place, message)
