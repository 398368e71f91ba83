"""What FreeRADIUS is told: its configuration, and the users file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.errors import LabError

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


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """A server on 127.0.0.1. `delay` are the seconds that it takes for each answer."""

    directory: Path
    secret: str = field(repr=False)
    auth_port: int
    acct_port: int
    ca: Path
    certificate: Path
    key: Path
    accounting: Path
    delay: float = 0.0

    def text(self) -> str:
        """radiusd.conf."""
        return _CONFIGURATION.format(
            directory=self.directory,
            libraries=LIBRARIES,
            secret=self.secret,
            auth_port=self.auth_port,
            acct_port=self.acct_port,
            ca=self.ca,
            certificate=self.certificate,
            key=self.key,
            accounting=self.accounting,
            delay=f"update control {{ Tmp-String-0 := `/bin/sleep {self.delay:g}` }}" if self.delay else "",
        )


def users_file(users: Sequence[RadiusUser]) -> str:
    """The users file (users(5))."""
    return "".join(map(_user, users))


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
