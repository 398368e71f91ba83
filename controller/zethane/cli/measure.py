"""What a Linux machine can tell of its own posture. What cannot be told for sure is left out, and so fails."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

TIMEOUT = 10.0
_ENCRYPTED = "crypt"
"""The type that lsblk gives to a device of dm-crypt."""


def measured(device: str) -> dict[str, Any]:
    """A report on this machine, measured now."""
    attributes: dict[str, Any] = {}
    attributes |= _system()
    attributes["kernel"] = platform.release()[:255]
    if (encrypted := disk_encrypted(_block_devices())) is not None:
        attributes["disk_encrypted"] = encrypted
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"device": device, "measured": now, "attributes": attributes}


def _system() -> dict[str, str]:
    """The distribution and its version (os-release(5))."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return {}
    found = {"os": release.get("ID", ""), "os_version": release.get("VERSION_ID", "")}
    return {name: value[:255] for name, value in found.items() if value}


def _block_devices() -> Mapping[str, Any] | None:
    try:
        done = subprocess.run(  # nothing of it comes from outside
            ["lsblk", "--json", "--output", "NAME,TYPE,MOUNTPOINTS"],  # noqa: S607  # wherever the system has it
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        )
        value = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def disk_encrypted(tree: Mapping[str, Any] | None) -> bool | None:
    """Whether everything that is mounted, but /boot, lies on dm-crypt; None if that cannot be told."""
    if tree is None:
        return None
    mounted = [
        below
        for below, places in _mounted(tree.get("blockdevices", []), False)
        if any(place != "[SWAP]" and not place.startswith(("/boot", "/snap/")) for place in places)
    ]
    return all(mounted) if mounted else None


def _mounted(devices: Any, below: bool) -> Iterator[tuple[bool, list[str]]]:
    """Everything that is mounted, with whether it is encrypted, or lies on what is."""
    for device in devices if isinstance(devices, list) else []:
        encrypted = below or device.get("type") == _ENCRYPTED
        places = [place for place in device.get("mountpoints", []) if place]
        if places:
            yield encrypted, places
        yield from _mounted(device.get("children", []), encrypted)
