"""IPv6 as the kernel of a host does it: duplicate address detection, addresses of its own making, a router's word."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from lab.host import RunningHost
from lab.processes import wait_for
from labsite import TOPOLOGIES, Site, running

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("switches")]

ADVERTISE = """
import sys
from scapy.all import Ether, IPv6, ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, ICMPv6NDOptSrcLLAddr, sendp
mac = sys.argv[1]
tells = ICMPv6ND_RA(routerlifetime=0) / ICMPv6NDOptPrefixInfo(prefix="2001:db8:20::", prefixlen=64)
sendp(
    Ether(src=mac, dst="33:33:00:00:00:01") / IPv6(src="fe80::1", dst="ff02::1", hlim=255) / tells
    / ICMPv6NDOptSrcLLAddr(lladdr=mac), iface="eth0", verbose=False,
)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running(TOPOLOGIES / "branch", login=("laptop", "files", "desk")) as running_site:
        yield running_site


def configure(host: RunningHost, **values: int) -> None:
    """Settings of the host's own IPv6."""
    for name, value in values.items():
        done = host.run(["sysctl", "-qw", f"net.ipv6.conf.eth0.{name}={value}"])
        assert done.returncode == 0, done.stderr


def shown(host: RunningHost, flag: str) -> list[str]:
    """The addresses of the host that have a flag, without their prefix length."""
    lines = host.run(["ip", "-6", "-o", "addr", "show", "dev", "eth0", flag]).stdout.splitlines()
    return [line.split()[3].partition("/")[0] for line in lines]


def held(site: Site, host: str) -> list[str]:
    """The addresses of the host's session."""
    addresses: list[Any] = site.get(f"/sessions/{site.sessions[host].session}")["addresses"]
    return addresses


def test_the_kernel_keeps_an_address_that_is_free_and_gives_up_one_that_is_not(site: Site) -> None:
    laptop = site.network.hosts["laptop"]
    configure(laptop, accept_dad=1, dad_transmits=1)
    for address in ("2001:db8:20::99", "2001:db8:20::22"):  # nobody's, and desk's
        laptop.run(["ip", "-6", "addr", "add", f"{address}/64", "dev", "eth0"])
    wait_for("no address is found to be taken", lambda: shown(laptop, "dadfailed") or None, 10.0, lambda: "")
    assert shown(laptop, "dadfailed") == ["2001:db8:20::22"]
    wait_for(
        "the free address stays tentative",
        lambda: "2001:db8:20::99" not in shown(laptop, "tentative") or None,
        10.0,
        lambda: "",
    )
    assert "2001:db8:20::99" in held(site, "laptop")
    assert "2001:db8:20::22" not in held(site, "laptop")
    record = site.wait_record("decision", reason="address-in-use")
    assert (record["destination"], record["subject"]["principal"]) == ("2001:db8:20::22", "user:alice")
    laptop.run(["ip", "-6", "addr", "del", "2001:db8:20::22/64", "dev", "eth0"])
    reached = laptop.run(["ping", "-6", "-c", "3", "-W", "1", "-I", "2001:db8:20::99", "2001:db8:20::11"])
    assert "3 received" in reached.stdout, reached.stdout


def test_a_host_makes_stable_and_temporary_addresses_of_what_the_router_says_and_uses_them(site: Site) -> None:
    desk, router = site.network.hosts["desk"], site.network.routers["wan"]
    configure(desk, accept_dad=1, dad_transmits=1, accept_ra=1, autoconf=1, use_tempaddr=2)
    before = set(held(site, "desk"))
    told = router.run([sys.executable, "-c", ADVERTISE, mac_of(router)])
    assert told.returncode == 0, told.stderr

    def bound() -> set[str] | None:
        """The addresses that the host has made, as soon as all of them are its session's: a stable and a temporary."""
        made = set(shown(desk, "dynamic"))
        return made if len(made) >= 2 and made <= set(held(site, "desk")) else None

    wait_for("the host's own addresses were not bound", bound, 10.0, lambda: str(held(site, "desk")))
    assert before < set(held(site, "desk"))
    temporary = shown(desk, "temporary")[0]
    wait_for("the address stays tentative", lambda: temporary not in shown(desk, "tentative") or None, 10.0, lambda: "")
    reached = desk.run(["ping", "-6", "-c", "3", "-W", "1", "-I", temporary, "2001:db8:20::11"])
    assert "3 received" in reached.stdout, reached.stdout


def test_no_host_is_believed_as_a_router(site: Site) -> None:
    laptop, desk = site.network.hosts["laptop"], site.network.hosts["desk"]
    configure(desk, accept_ra=1, autoconf=1)
    forged = ADVERTISE.replace("2001:db8:20::", "2001:db8:bad::")
    assert laptop.run([sys.executable, "-c", forged, mac_of(laptop)]).returncode == 0
    site.wait_record("decision", reason="router-spoof")
    assert not any(address.startswith("2001:db8:bad:") for address in shown(desk, "dynamic"))


def mac_of(host: RunningHost) -> str:
    return host.run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
