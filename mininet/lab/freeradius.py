"""FreeRADIUS for labs and tests: its own configuration, users, certificates and ports, in a directory of its own.

Several may run at once, each with a directory; none touches /etc/freeradius. Accounting is written as JSON lines.
"""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.certificates import Authority, Issued
from lab.errors import LabError
from lab.processes import stop, tail, wait_for

START_TIMEOUT = 20.0
"""Seconds until the server must be ready."""

DICTIONARY = Path("/usr/share/freeradius/dictionary")
LIBRARIES = Path("/usr/lib/freeradius")

Attributes = Mapping[str, str | int | Sequence[str]]
"""Attributes of an answer by their names; several values of one as a list."""


@dataclass(frozen=True, slots=True)
class RadiusUser:
    """Somebody whom the server knows. Without a password only a certificate can prove who it is.

    `reply` are the attributes of its Access-Accept: `{"Filter-Id": "staff", "Session-Timeout": 3600}`.
    """

    name: str
    password: str | None = field(default=None, repr=False)
    reply: Attributes = field(default_factory=dict)
    rejected: bool = False


def mab_user(mac: str, reply: Attributes | None = None) -> RadiusUser:
    """A device that is known by its MAC address alone: `mac` as the authenticator sends it, XX-XX-XX-XX-XX-XX."""
    return RadiusUser(mac, None, reply or {})


class FreeRadius:
    """One server on 127.0.0.1 with ports that were free. `with FreeRadius(directory, users) as server:`.

    `authority` signs the certificate of the server; clients of EAP-TLS get theirs from it too.
    """

    def __init__(
        self,
        directory: Path,
        users: Sequence[RadiusUser],
        *,
        secret: str | None = None,
        authority: Authority | None = None,
        delay: float = 0.0,
        auth_port: int | None = None,
        acct_port: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.secret = secret or secrets.token_urlsafe(24)
        self.authority = authority or Authority(directory / "certificates")
        self.auth_port, self.acct_port, self._inner_port = (auth_port or 0, acct_port or 0, 0)
        self.log = directory / "freeradius.log"
        self.accounting_log = directory / "accounting.jsonl"
        self.secret_file = directory / "secret"
        self._users = tuple(users)
        self._delay = delay
        self._environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self._server: Issued | None = None

    def __enter__(self) -> FreeRadius:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Write the configuration, start the server, and wait until it is ready. It keeps ports that it has had.

        Raises LabError.
        """
        if self.process is not None:
            raise LabError("FreeRADIUS is already running")
        program = shutil.which("freeradius") or shutil.which("radiusd") or shutil.which("freeradius", path="/usr/sbin")
        if program is None:
            raise LabError("freeradius is not installed: it comes with the Debian package freeradius")
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        server = self._server = self._server or self.authority.server("radius", ["radius.lab", "127.0.0.1"])
        if not self.auth_port or not self.acct_port:
            self.auth_port, self.acct_port = free_udp_ports(2)
        self._write(server)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, "-f", "-l", "stdout", "-x", "-d", str(self.directory), "-n", "radiusd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=None if self._environment is None else dict(self._environment),
                start_new_session=True,
            )
        try:
            wait_for("FreeRADIUS did not start", self._ready, START_TIMEOUT, lambda: tail(self.log))
        except LabError:
            self.stop()
            raise

    def _ready(self) -> bool | None:
        if self.process is None or self.process.poll() is not None:
            raise LabError(f"FreeRADIUS ended. {tail(self.log)}")
        return "Ready to process requests" in self.log.read_text(encoding="utf-8", errors="replace") or None

    def stop(self) -> None:
        """End the server; it may be started again."""
        process, self.process = self.process, None
        if process is not None:
            stop(process)

    def accounting(self) -> list[dict[str, Any]]:
        """The Accounting-Requests that the server has taken, in their order: attribute names with their text."""
        if not self.accounting_log.exists():
            return []
        lines = self.accounting_log.read_text(encoding="utf-8").splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        return [{name: attribute["value"] for name, attribute in record.items()} for record in records]

    def wait_accounting(self, fits: Callable[[dict[str, Any]], bool], timeout: float = 20.0) -> dict[str, Any]:
        """The first Accounting-Request that fits. Raises LabError if none has come in time."""
        return wait_for(
            "no such Accounting-Request came",
            lambda: next((record for record in self.accounting() if fits(record)), None),
            timeout,
            lambda: str(self.accounting()[-5:]),
        )

    def sources(self, name: str = "lab") -> dict[str, Any]:
        """The entry of this server in `radius.servers` of sources.yaml."""
        return {
            name: {
                "host": "127.0.0.1",
                "auth_port": self.auth_port,
                "acct_port": self.acct_port,
                "secret_file": str(self.secret_file),
            }
        }

    def _write(self, server: Issued) -> None:
        files = {
            "secret": self.secret,
            "dictionary": f"$INCLUDE {DICTIONARY}\n",
            "users": "".join(map(_user, self._users)),
            "radiusd.conf": self._configuration(server),
        }
        for name, text in files.items():
            file = self.directory / name
            file.touch(mode=0o600)
            file.write_text(text, encoding="utf-8")

    def _configuration(self, server: Issued) -> str:
        return _CONFIGURATION.format(
            directory=self.directory,
            libraries=LIBRARIES,
            secret=self.secret,
            auth_port=self.auth_port,
            acct_port=self.acct_port,
            ca=self.authority.certificate,
            certificate=server.certificate,
            key=server.key,
            accounting=self.accounting_log,
            delay=f"update control {{ Tmp-String-0 := `/bin/sleep {self._delay:g}` }}" if self._delay else "",
        )


def free_udp_ports(number: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing uses now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _user(user: RadiusUser) -> str:
    """An entry of the users file (users(5)): what is checked, then what is answered."""
    name = _quoted(user.name)
    if user.rejected:
        return f"{name} Auth-Type := Reject\n"
    # Without a password only EAP-TLS or the address itself can be the proof: `mab` below says when.
    check = f" Cleartext-Password := {_quoted(user.password)}" if user.password is not None else ""
    reply = [
        f"\t{attribute} {'=' if place == 0 else '+='} {_quoted(str(value))}"
        for attribute, values in user.reply.items()
        for place, value in enumerate(_several(values))
    ]
    return f"{name}{check}\n" + ",\n".join(reply) + ("\n" if reply else "")


def _several(values: str | int | Sequence[str]) -> Sequence[str | int]:
    return [values] if isinstance(values, str | int) else values


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if any(character in escaped for character in "\r\n\0"):
        raise LabError("a value of FreeRADIUS has to be one line")
    return f'"{escaped}"'


_CONFIGURATION = """\
name = radiusd
prefix = /usr
raddbdir = {directory}
logdir = {directory}
run_dir = {directory}
libdir = {libraries}
pidfile = {directory}/radiusd.pid
max_request_time = 30
cleanup_delay = 5
max_requests = 16384
hostname_lookups = no
log {{
	destination = stdout
	auth = yes
}}
security {{
	allow_core_dumps = no
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}}
proxy_requests = no
thread pool {{
	start_servers = 4
	max_servers = 32
	min_spare_servers = 2
	max_spare_servers = 10
	max_requests_per_server = 0
}}
client loopback {{
	ipaddr = 127.0.0.1
	secret = "{secret}"
	require_message_authenticator = yes
}}
modules {{
	always reject {{
		rcode = reject
	}}
	always ok {{
		rcode = ok
	}}
	files {{
		filename = {directory}/users
	}}
	pap {{
	}}
	mschap {{
	}}
	linelog account {{
		filename = {accounting}
		permissions = 0600
		format = "%{{json_encode:&request:[*]}}"
	}}
	json {{
	}}
	eap {{
		default_eap_type = md5
		timer_expire = 60
		max_sessions = 16384
		md5 {{
		}}
		tls-config tls-common {{
			private_key_file = {key}
			certificate_file = {certificate}
			ca_file = {ca}
			check_cert_cn = "%{{User-Name}}"
			cipher_list = "DEFAULT"
			tls_min_version = "1.2"
			tls_max_version = "1.2"
			ecdh_curve = ""
			cache {{
				enable = no
			}}
		}}
		tls {{
			tls = tls-common
		}}
		ttls {{
			tls = tls-common
			default_eap_type = md5
			copy_request_to_tunnel = no
			use_tunneled_reply = yes
			virtual_server = inner-tunnel
		}}
		peap {{
			tls = tls-common
			default_eap_type = mschapv2
			copy_request_to_tunnel = no
			use_tunneled_reply = yes
			virtual_server = inner-tunnel
		}}
		mschapv2 {{
		}}
	}}
}}
server default {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = {auth_port}
	}}
	listen {{
		type = acct
		ipaddr = 127.0.0.1
		port = {acct_port}
	}}
	authorize {{
		{delay}
		# What goes on within a tunnel is the inner server's: the outer name proves nothing and is not looked up.
		eap {{
			ok = return
		}}
		files
		# MAC authentication bypass: no EAP, and the name is the address that the port saw.
		if (ok && !&EAP-Message && &Service-Type == Call-Check && &User-Name == &Calling-Station-Id) {{
			if (!&control:Auth-Type) {{
				update control {{
					Auth-Type := Accept
				}}
			}}
		}}
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
		Auth-Type eap {{
			eap
		}}
	}}
	post-auth {{
		if (&EAP-Message && &EAP-Type == TLS) {{
			files.authorize
			if (notfound || &control:Auth-Type == Reject) {{
				reject
			}}
		}}
		# FreeRADIUS before 3.2.5 signs answers to EAP only, unless it is told to sign all.
		if (!&EAP-Message) {{
			update reply {{
				&Message-Authenticator := 0x00
			}}
		}}
		Post-Auth-Type REJECT {{
			if (!&EAP-Message) {{
				update reply {{
					&Message-Authenticator := 0x00
				}}
			}}
			else {{
				eap
			}}
		}}
	}}
	accounting {{
		account
	}}
}}
server inner-tunnel {{
	authorize {{
		files
		mschap
		eap {{
			ok = return
		}}
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
		Auth-Type MS-CHAP {{
			mschap
		}}
		eap
	}}
	post-auth {{
		# Who it is inside is who it is: without this the answer has the name from outside, which nobody has checked.
		update reply {{
			&User-Name := &request:User-Name
		}}
	}}
}}
"""
