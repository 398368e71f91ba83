"""Entries as a ruleset of nftables (nft(8)), for `nft -f`: one table of its own, replaced as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from zethane.convert.nftables.entries import Entry
from zethane.convert.yaml_text import comment
from zethane.document import some
from zethane.net.prefix import Prefix
from zethane.policy.service import Service

TABLE = "zethane"
_WORDS = {4: ("ip", "ipv4_addr", "icmp"), 6: ("ip6", "ipv6_addr", "icmpv6")}
_PER_LINE = 6
_SHOWN = 8

_DISCOVERY = """\
		# Neighbour discovery (RFC 4861 §7.1, §6.1.2: hop limit 255, from this link) and groups (RFC 3810, RFC 2710)
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept"""

_INPUT = f"""\
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		ct state established,related accept
{_DISCOVERY}
		icmpv6 type nd-router-advert ip6 hoplimit 255 ip6 saddr fe80::/10 accept
		icmpv6 type mld-listener-query ip6 saddr fe80::/10 accept"""

_OUTPUT = f"""\
		type filter hook output priority filter; policy drop;
		oif "lo" accept
		ct state established,related accept
{_DISCOVERY}
		icmpv6 type nd-router-solicit ip6 hoplimit 255 accept
		icmpv6 type {{ mld-listener-report, mld-listener-done, mld2-listener-report }} ip6 daddr ff02::/16 accept"""

_OPENING = """\
		ct state invalid counter drop
		# A connection begins with SYN alone.
		meta l4proto tcp tcp flags & (fin | syn | rst | ack) != syn counter drop"""


class _Sets:
    """Named sets of addresses, each once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names: dict[tuple[Prefix, ...], str] = {}

    def name(self, prefixes: Sequence[Prefix], version: int, who: Sequence[str], word: str = "") -> str | None:
        """The set with these addresses of a version; None if there are none. `who` is for its reader."""
        wanted = tuple(prefix for prefix in prefixes if prefix.version == version)
        if not wanted:
            return None
        if wanted not in self._names:
            name = f"{word}{version}" if word else f"peers{len(self._names)}_{version}"
            self._names[wanted] = name
            self.lines.append(comment(some(who, _SHOWN), "\t"))
            self.lines.extend(_set(name, version, wanted))
        return self._names[wanted]


def _set(name: str, version: int, prefixes: Sequence[Prefix]) -> Iterator[str]:
    yield f"\tset {name} {{"
    yield f"\t\ttype {_WORDS[version][1]}"
    yield "\t\tflags interval"
    texts = [str(one.network_address) if one.prefixlen == one.max_prefixlen else str(one) for one in prefixes]
    rows = [", ".join(texts[start : start + _PER_LINE]) for start in range(0, len(texts), _PER_LINE)]
    yield "\t\telements = { " + ",\n\t\t\t".join(rows) + " }"
    yield "\t}"


def ruleset(
    title: str,
    remarks: Iterable[tuple[str, Iterable[str]]],
    entries: Sequence[Entry],
    foreign: Sequence[Prefix],
    inside: Sequence[Prefix],
) -> str:
    """The text. `remarks` are headings with what is below them, for the reader."""
    sets = _Sets()
    chains = {
        leaving: [
            line for entry in entries if entry.leaving is leaving for line in _rules(entry, sets, foreign, inside)
        ]
        for leaving in (False, True)
    }
    lines = ["#!/usr/sbin/nft -f", comment(title)]
    for heading, texts in remarks:
        listed = [comment(text, first="- ") for text in texts]
        lines.extend(["#", comment(heading), *listed] if listed else [])
    # The first line makes sure that there is a table for the second to delete: all of it is one transaction.
    lines.extend([f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{", *sets.lines])
    for name, head, rules in (("input", _INPUT, chains[False]), ("output", _OUTPUT, chains[True])):
        lines.extend([f"\tchain {name} {{", head, _OPENING, *rules])
        lines.extend(['\t\tcounter drop comment "no rule allows it"', "\t}"])
    lines.extend(["\tchain forward {", "\t\ttype filter hook forward priority filter; policy drop;", "\t}", "}"])
    return "\n".join(lines) + "\n"


def _rules(entry: Entry, sets: _Sets, foreign: Sequence[Prefix], inside: Sequence[Prefix]) -> Iterator[str]:
    for version, (ip, _, icmp) in _WORDS.items():
        theirs, ours = ("daddr", "saddr") if entry.leaving else ("saddr", "daddr")
        name = sets.name(entry.peers, version, entry.who or ["networks of the policy"])
        own = [str(network) for network in entry.own if network.version == version]
        if name is None or (entry.own and not own):
            continue
        match = f"{ip} {theirs} @{name}"
        if entry.outside:
            outside = sets.name(foreign, version, ["what is outside"], "outside")
            if outside is None:
                continue
            match += f" {ip} {theirs} @{outside}"
            never = sets.name(inside, version, ["what never is outside"], "inside")
            match += f" {ip} {theirs} != @{never}" if never else ""
        if own:
            match += f" {ip} {ours} {{ {', '.join(own)} }}"
        verdict = "accept" if entry.rule.allow else "counter drop"
        for service in _services(entry.services, icmp):
            parts = [match, *([service] if service else []), verdict, f'comment "{_text(entry.rule.id)}"']
            yield f"\t\t{' '.join(parts)}"


def _services(services: Sequence[Service], icmp: str) -> Iterator[str]:
    """Matches for the services, in one for each protocol; an empty one is every packet."""
    ports: dict[str, list[str]] = {}
    for service in services:
        if service.proto == "any":
            yield ""
        elif service.proto == "icmp":
            yield f"{icmp} type echo-request"
        elif service.whole:
            yield f"meta l4proto {service.proto}"
        else:
            text = str(service.low) if service.low == service.high else f"{service.low}-{service.high}"
            ports.setdefault(service.proto, []).append(text)
    for proto, texts in ports.items():
        yield f"{proto} dport {{ {', '.join(texts)} }}"


_STRANGE = re.compile(r"[^A-Za-z0-9_.-]")


def _text(identifier: str) -> str:
    """What may stand in quotes, whatever it was."""
    return _STRANGE.sub("?", identifier)
