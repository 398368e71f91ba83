"""Sessions and flows for people, with the hosts' names instead of their addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from lab.login import LoginResult
from zethane.network.model import Host, Login

Names = Mapping[str, str]
"""An address, as text, and the host that has it."""


def moment(rfc3339: str) -> str:
    """A moment to the minute: `2026-11-24 13:05 UTC` (RFC 3339 §5.6, in UTC, as the controller writes it)."""
    return f"{rfc3339[:10]} {rfc3339[11:16]} UTC"


def table(*headings: str) -> Table:
    """A table without lines."""
    made = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        made.add_column(heading)
    return made


_WAYS = {
    "portal": "portal",
    "mab": "MAC address alone",
    "oidc": "single sign-on",
    "certificate": "certificate",
    "attestation": "word of the platform",
}


def way(login: Login) -> str:
    """How a login is proved, in words: `802.1X EAP-TLS`, `portal, second factor`."""
    if login.via == "dot1x":
        return "802.1X " + {"tls": "EAP-TLS", "peap": "PEAP", "ttls": "EAP-TTLS", "md5": "EAP-MD5"}[login.eap]
    return _WAYS[login.via] + (", second factor" if login.mfa else "")


def logins_table(hosts: Mapping[str, Host], results: Iterable[LoginResult], failed: Iterable[str]) -> Table:
    """Who got which segment, and how."""
    made = table("host", "principal", "segment", "proved by", "session")
    got = {result.host: result for result in results}
    refused = frozenset(failed)
    for name, host in hosts.items():
        if one := got.get(name):
            ways = Text("; ".join(map(way, host.logins)))
            made.add_row(name, Text(one.principal), Text(one.segment, "cyan"), ways, str(one.session))
        else:
            made.add_row(name, Text("login failed", "bold red") if name in refused else Text("not logged in", "dim"))
    return made


def sessions_table(sessions: Sequence[Mapping[str, Any]], names: Names) -> Table:
    """The API's sessions."""
    made = table("session", "host", "principal", "segment", "second factor", "until")
    for one in sessions:
        factor = "yes" if one["mfa"] else "no"
        cells = (str(one["session"]), _hosts(one["addresses"], names), one["principal"], one["segment"], factor)
        made.add_row(*map(Text, cells), moment(one["expires"]))
    return made


def _hosts(addresses: Iterable[str], names: Names) -> str:
    return ", ".join(dict.fromkeys(names.get(address, address) for address in addresses))


def flows_table(flows: Sequence[Mapping[str, Any]], names: Names) -> Table:
    """The API's flows."""
    made = table("from", "to", "service", "rule", "principals")
    for one in flows:
        ends = [names.get(one[end], one[end]) for end in ("source", "destination")]
        principals = f"{one['subject_principal']} → {one['object_principal']}"
        made.add_row(*map(Text, (*ends, one["service"], one["rule"] or "", principals)))
    return made
