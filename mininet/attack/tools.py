"""Tools of attackers (nmap, hping3, dsniff, thc-ipv6, dhcpstarv), run inside a host."""

from __future__ import annotations

import ipaddress
import os
import signal
import struct
import subprocess
from collections.abc import Sequence
from shutil import which

from attack.trial import Trial
from lab.errors import LabError

PACKAGES = {"nmap": "nmap", "hping3": "hping3", "arpspoof": "dsniff", "dhcpstarv": "dhcpstarv"}
"""Debian packages of the tools; those of thc-ipv6 begin with atk6-."""


def text_token() -> bytes:
    """A mark for a tool that puts text into its packets."""
    return os.urandom(8).hex().encode("ascii")


def addresses_token(source: str, target: str, sport: int | None = None) -> bytes:
    """The bytes that packets from one address to another have, and with a source port those of the port behind them.

    A mark for a tool that lets nothing be put into its packets; of no use where others use the same addresses.
    """
    both = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return both if sport is None else both + struct.pack("!H", sport)


def run_tool(trial: Trial, host: str, command: Sequence[str], *, seconds: float, knows: Sequence[str] = ()) -> str:
    """What a tool says that ends by itself or is ended after so long; `knows` are hosts whose cards it knows.

    Raises LabError if it is not installed.
    """
    program = command[0]
    if which(program) is None:
        package = PACKAGES.get(program, "thc-ipv6")
        raise LabError(f"{program} is not installed (Debian package {package}); ./run attack installs it")
    with trial.arena.knowing(host, *knows):
        process = trial.arena.host(host).popen(
            list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            return str(process.communicate(timeout=seconds)[0])
        except subprocess.TimeoutExpired:
            # The tool has a session of its own (mnexec -d): all of it ends, as with Ctrl-C.
            os.killpg(process.pid, signal.SIGINT)
            return _ended(process)


def _ended(process: subprocess.Popen[str]) -> str:
    """The output of a tool that has been asked to end. Some need long to put right what they have done."""
    try:
        return str(process.communicate(timeout=1.0)[0])
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return str(process.communicate()[0])
