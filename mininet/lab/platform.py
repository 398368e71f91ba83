"""The lab as a platform: writes into the database of Open vSwitch whose an interface is, as a cloud would."""

from __future__ import annotations

from lab import openvswitch
from lab.openvswitch import RUN_DIRECTORY
from zethane.identity.directory import Attested
from zethane.net.mac import format_mac

DATABASE = f"unix:{RUN_DIRECTORY}/db.sock"
"""Where the database of this machine is reached."""

_KEYS = ("iface-id", "vm-uuid", "attached-mac")


def vouch(interface: str, mac: int, attested: Attested) -> None:
    """Say that an interface is the one that `attested` describes, with this MAC address. Raises LabError."""
    named = {"iface-id": attested.iface_id, "vm-uuid": attested.vm_uuid, "attached-mac": format_mac(mac)}
    settings = [f'external_ids:{key}="{value}"' for key, value in named.items() if value is not None]
    openvswitch.vsctl("set", "Interface", interface, *settings)


def forget(interface: str, *keys: str) -> None:
    """Take it back: all of it, or these keys. Raises LabError."""
    for key in keys or _KEYS:
        openvswitch.vsctl("remove", "Interface", interface, "external_ids", key)
