"""A host's IEEE 802.1X supplicant: wpa_supplicant on its wired interface, in its namespace."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from lab.errors import LabError
from lab.host import RunningHost
from lab.processes import stop, tail
from zethane.network.model import Login

_METHODS = {
    "tls": ("TLS", ()),
    "peap": ("PEAP", ('phase2="auth=MSCHAPV2"',)),
    "ttls": ("TTLS", ('phase2="auth=PAP"',)),
    "md5": ("MD5", ()),
}
_PLAIN = re.compile(r'[^"\\\x00-\x1f\x7f]*')
"""What a quoted value of wpa_supplicant.conf may hold: it knows no escapes there."""


def configuration(
    login: Login, sockets: Path, ca: Path | None, pair: tuple[Path, Path] | None, outer: str | None = None
) -> str:
    """wpa_supplicant.conf for a login. `ca` is who signs the server's certificate, `pair` this host's own and its key.

    `outer` is what the host calls itself outside of the tunnel of PEAP and TTLS, if not the same.

    Raises LabError for what the file cannot hold.
    """
    method, more = _METHODS[login.eap]
    identity = f"host/{login.name}" if login.kind == "device" else login.name
    lines = [f"eap={method}", f"identity={_quoted(identity)}", *more]
    if outer is not None:
        lines.append(f"anonymous_identity={_quoted(outer)}")
    if login.secret:
        lines.append(f"password={_quoted(login.secret)}")
    if ca is not None and login.eap != "md5":
        lines.append(f"ca_cert={_quoted(str(ca))}")
    if pair is not None and login.eap == "tls":
        lines += [f"client_cert={_quoted(str(pair[0]))}", f"private_key={_quoted(str(pair[1]))}"]
    body = "".join(f"  {line}\n" for line in ("key_mgmt=IEEE8021X", "eapol_flags=0", *lines))
    return f"ctrl_interface={sockets}\nap_scan=0\nfast_reauth=0\nnetwork={{\n{body}}}\n"


def _quoted(text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise LabError("a name or password with quotes, backslashes or control characters is none for wpa_supplicant")
    return f'"{text}"'


class Supplicant:
    """One supplicant that is running. `log` is what it says."""

    def __init__(
        self,
        host: RunningHost,
        directory: Path,
        login: Login,
        ca: Path | None = None,
        pair: tuple[Path, Path] | None = None,
        outer: str | None = None,
    ) -> None:
        """Start it, with its files in `directory`; it begins to authenticate by itself. Raises LabError."""
        self._host = host
        self._sockets = directory / f"{host.name}.sockets"
        text = configuration(login, self._sockets, ca, pair, outer)
        file = directory / f"{host.name}.supplicant.conf"
        self.log = directory / f"{host.name}.supplicant.log"
        descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)  # it may hold a password
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        command = ["wpa_supplicant", "-D", "wired", "-i", "eth0", "-c", str(file)]
        with self.log.open("ab") as log:
            try:
                self.process = host.popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            except FileNotFoundError:
                raise LabError("wpa_supplicant is not installed: it is the Debian package wpasupplicant") from None

    def said(self, what: str) -> bool:
        """Whether its log has these words. Raises LabError if it has ended."""
        if self.process.poll() is not None:
            raise LabError(f"{self._host.name}: wpa_supplicant ended. {tail(self.log)}")
        return what in self.log.read_text(encoding="utf-8", errors="replace")

    def tell(self, command: str) -> str:
        """Give it an order, such as `logoff`, `logon` or `reassociate`. Raises LabError."""
        done = self._host.run(["wpa_cli", "-p", str(self._sockets), "-i", "eth0", command])
        if done.returncode or "FAIL" in done.stdout:
            raise LabError(f"{self._host.name}: wpa_cli {command} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def stop(self) -> None:
        """End it; it logs off, as it does when a machine shuts down."""
        stop(self.process)
