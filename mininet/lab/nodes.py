"""Mininet's nodes, fitted to the lab: marked as the run's own, and quiet about the machine around them."""

from __future__ import annotations

import resource
import subprocess
import warnings
from collections.abc import Mapping
from typing import Any

from lab.errors import LabError

with warnings.catch_warnings():
    # Mininet 2.3 imports distutils, which Python 3.10 and 3.11 announce to be leaving.
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        from mininet.cli import CLI
        from mininet.net import Mininet
        from mininet.node import Host, OVSSwitch
    except ImportError as error:
        raise LabError(
            f"Mininet cannot be imported ({error}): its Python package comes with the Debian package mininet, "
            "for /usr/bin/python3 and environments made with --system-site-packages"
        ) from None

_FILES = 16_384


class _Tagged:
    """Starts its processes with the environment of the run."""

    tag: Mapping[str, str]

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[Any]:
        params.setdefault("env", dict(self.tag))
        return subprocess.Popen(cmd, **params)


class LabHost(_Tagged, Host):  # type: ignore[misc]  # Mininet has no types
    """A host: a shell in a network namespace of its own."""

    def __init__(self, name: str, *, tag: Mapping[str, str], **params: Any) -> None:
        self.tag = tag
        super().__init__(name, **params)


class LabSwitch(_Tagged, OVSSwitch):  # type: ignore[misc]  # Mininet has no types
    """A bridge with userspace datapath. The lab makes and deletes it; Mininet only knows about it."""

    def __init__(self, name: str, *, tag: Mapping[str, str], **params: Any) -> None:
        self.tag = tag
        super().__init__(name, datapath="user", protocols="OpenFlow13", failMode="secure", **params)

    @classmethod
    def setup(cls) -> None:
        """The lab has looked after Open vSwitch before; Mininet's own check would end the program."""

    @classmethod
    def isOldOVS(cls) -> bool:  # noqa: N802 - Mininet's name
        """No version before 1.10 is supported; Mininet would compare with distutils, which is leaving."""
        return False


class LabMininet(Mininet):  # type: ignore[misc]  # Mininet has no types
    """Mininet that changes no limits of the machine: other runs and other programs depend on them."""

    def __init__(self, **params: Any) -> None:
        # It would write to /proc/sys for the whole machine, from Mininet.init(): a subclass's is not asked.
        Mininet.inited = True
        _raise_file_limit()
        super().__init__(**params)


def _raise_file_limit() -> None:
    """Every host takes descriptors: let this process, and what it starts, have as many as Mininet asks for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


__all__ = ["CLI", "LabHost", "LabMininet", "LabSwitch"]
