"""Open vSwitch on this machine: the daemons, bridges, and the numbers that their ports really have."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.legacy import LegacySwitch
from lab.shell import run
from zethane.pipeline.tables import Table

OVS_CTL = Path("/usr/share/openvswitch/scripts/ovs-ctl")
RUN_DIRECTORY = Path("/var/run/openvswitch")
OWNER_KEY = "zethane-lab"
"""The key in a bridge's external_ids that holds the run which made it."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge to make. `ports` maps the numbers asked for to interface names; `trunks` lead to switches."""

    name: str
    dpid: int
    ports: Mapping[int, str]
    trunks: frozenset[int] = frozenset()


def vsctl(*arguments: str) -> str:
    """Run ovs-vsctl. Raises LabError."""
    return run(["ovs-vsctl", "--timeout=20", *arguments], timeout=25)


def is_running() -> bool:
    """Whether the database server and the switch daemon both answer."""
    for daemon in ("ovsdb-server", "ovs-vswitchd"):
        if shutil.which("ovs-appctl") is None:
            raise LabError("Open vSwitch is not installed: ovs-appctl is missing (Debian package openvswitch-switch)")
        try:
            run(["ovs-appctl", "--timeout=5", "-t", daemon, "version"], timeout=10)
        except LabError:
            return False
    return True


def ensure_running() -> bool:
    """Start the daemons if they do not run. True if they were started. Raises LabError if they cannot be."""
    if is_running():
        return False
    if not OVS_CTL.exists():
        raise LabError(f"Open vSwitch is not installed: there is no {OVS_CTL} (Debian package openvswitch-switch)")
    RUN_DIRECTORY.mkdir(parents=True, exist_ok=True)
    # Two labs that start at once: ovs-ctl lets a daemon that runs alone, so the second start is harmless.
    run([str(OVS_CTL), "start", "--system-id=random"], timeout=60, env=_daemon_environment())
    if not is_running():
        raise LabError("Open vSwitch was started but does not answer; see /var/log/openvswitch")
    return True


def _daemon_environment() -> dict[str, str]:
    """The daemons outlive the lab: nothing of its environment but the path goes with them."""
    return {"PATH": f"/usr/sbin:/usr/bin:/sbin:/bin:{os.environ.get('PATH', '')}"}


def create(bridges: Sequence[Bridge], *, run_id: str, secure: bool) -> None:
    """Make the bridges in one transaction. `secure`: no controller means no traffic."""
    arguments: list[str] = []
    for bridge in bridges:
        arguments += ["--", "add-br", bridge.name, "--", "set", "Bridge", bridge.name]
        arguments += [
            "datapath_type=netdev",
            "protocols=OpenFlow13",
            f"fail_mode={'secure' if secure else 'standalone'}",
            f"other_config:datapath-id={bridge.dpid:016x}",
            "other_config:disable-in-band=true",
            f"other_config:dp-desc={bridge.name}",
            f"external_ids:{OWNER_KEY}={run_id}",
        ]
        if not secure and bridge.trunks:
            # Declared loops must not melt the lab when bridges learn by themselves.
            arguments += ["rstp_enable=true"]
        if secure:
            arguments += _without_prefix_tries(bridge.name)
        for number, port in bridge.ports.items():
            arguments += ["--", "add-port", bridge.name, port, "--", "set", "Interface", port]
            arguments += [f"ofport_request={number}"]
            if not secure and number not in bridge.trunks:
                arguments += ["--", "set", "Port", port, "other_config:rstp-port-admin-edge=true"]
    vsctl(*arguments)
    for bridge in bridges:
        _verify_ports(bridge)


def create_legacy(switches: Sequence[LegacySwitch], *, run_id: str) -> None:
    """Make legacy switches in one transaction: they learn and forward by themselves, within their VLANs."""
    arguments: list[str] = []
    for switch in switches:
        arguments += ["--", "add-br", switch.bridge, "--", "set", "Bridge", switch.bridge, "datapath_type=netdev"]
        arguments += ["fail_mode=standalone", f"external_ids:{OWNER_KEY}={run_id}"]
        arguments += ["--", "add-port", switch.bridge, switch.trunk, "vlan_mode=native-untagged"]
        arguments += [f"tag={switch.native}", f"trunks={','.join(map(str, switch.vlans))}"]
        for name, vlan in switch.hosts.items():
            arguments += ["--", "add-port", switch.bridge, switch.access[name], "vlan_mode=access", f"tag={vlan}"]
    if arguments:
        vsctl(*arguments)


def _without_prefix_tries(bridge: str) -> list[str]:
    """Have the pipeline's tables look addresses up whole.

    By default Open vSwitch looks up as few leading bits of an address as tell it from those in the table, so that
    packets to random addresses fill its cache with a mask for every length (tuple space explosion, CVE-2019-25076).
    """
    row = f"@{bridge}"
    tables = [f"flow_tables:{table.value}={row}" for table in Table]
    return ["--", f"--id={row}", "create", "Flow_Table", "prefixes=none", "--", "set", "Bridge", bridge, *tables]


def _verify_ports(bridge: Bridge) -> None:
    """The daemon treats ofport_request as a wish: make sure that it was granted."""
    numbers = port_numbers(bridge.ports.values())
    for wanted, port in bridge.ports.items():
        if numbers.get(port) != wanted:
            raise LabError(f"{bridge.name}: {port} got OpenFlow port {numbers.get(port)}; wanted {wanted}")


def port_numbers(ports: Iterable[str]) -> dict[str, int | None]:
    """The OpenFlow numbers of ports; None, or missing, for those that could not be attached."""
    names = list(ports)
    if not names:
        return {}
    table = json.loads(vsctl("--format=json", "--columns=name,ofport", "list", "Interface", *names))
    return {name: number if isinstance(number, int) and number > 0 else None for name, number in table["data"]}


def is_spanning(bridges: Sequence[Bridge]) -> bool:
    """Whether the spanning tree (IEEE 802.1Q-2022, 13) has settled: all agree on its root, and every port
    forwards or is blocked for good."""
    linked = [bridge for bridge in bridges if bridge.trunks]
    if not linked:
        return True
    roots = {state.get("rstp_root_id") for state in _rstp("Bridge", [bridge.name for bridge in linked])}
    ports = _rstp("Port", [name for bridge in linked for name in bridge.ports.values()])
    settled = {("Root", "Forwarding"), ("Designated", "Forwarding"), ("Alternate", "Discarding")}
    states = {(state.get("rstp_port_role"), state.get("rstp_port_state")) for state in ports}
    return len(roots) == 1 and None not in roots and states <= settled


def _rstp(table: str, names: Sequence[str]) -> list[dict[str, str]]:
    told = json.loads(vsctl("--format=json", "--columns=rstp_status", "list", table, *names))
    return [dict(status[1]) for (status,) in told["data"]]


def set_controller(bridges: Iterable[str], target: str) -> None:
    """Point the bridges at a controller, `tcp:ADDRESS:PORT`; they retry at least once a second."""
    arguments: list[str] = []
    for bridge in bridges:
        arguments += ["--", "set-controller", bridge, target, "--", "set", "Controller", bridge]
        arguments += ["max_backoff=1000", "inactivity_probe=5000"]
    vsctl(*arguments)


def delete(bridges: Iterable[str]) -> None:
    """Delete those of the bridges that exist, and nothing else."""
    arguments: list[str] = []
    for bridge in bridges:
        arguments += ["--", "--if-exists", "del-br", bridge]
    if arguments and is_running():
        vsctl(*arguments)


def forget_connections(zones: Iterable[str]) -> None:
    """Empty these zones of connection tracking: a daemon keeps idle connections for a day, whoever has made them.

    They are gone with the last bridge of the daemon.
    """
    if is_running() and run(["ovs-appctl", "dpif/dump-dps"]):
        for zone in zones:
            run(["ovs-appctl", "dpctl/flush-conntrack", f"zone={zone}"])


def existing_bridges() -> list[str]:
    """All bridges of the machine, whoever made them."""
    return vsctl("list-br").split()
