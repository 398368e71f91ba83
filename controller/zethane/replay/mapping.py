"""The mapping file and the assumptions: addresses, prefixes and MAC addresses, and who has them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict, RootModel

from zethane.document import Findings, parse, quote
from zethane.errors import InputError, Problem
from zethane.net.mac import is_multicast, parse_mac
from zethane.net.prefix import Prefix, parse_prefix
from zethane.replay.attribution import Entity, Told
from zethane.replay.naming import Names

MAX_ENTRIES = 100_000

ASSUME = "--assume"


class MapFile(RootModel[dict[str, str | dict[str, str]]]):
    """All of a mapping file: `10.0.0.11: workload:web1`, `10.1.0.0/16: {segment: office}`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


def parse_map(text: str, file: str, names: Names) -> Told:
    """What a mapping file says. Raises InputError with all that is wrong."""
    document = parse(text, file, MapFile)
    findings = Findings(document)
    entries = document.value.root
    if len(entries) > MAX_ENTRIES:
        raise InputError([Problem(file, f"expected at most {MAX_ENTRIES} entries")])
    prefixes: dict[Prefix, Entity] = {}
    macs: dict[bytes, Entity] = {}
    for key, value in entries.items():
        source = f"{file}:{document.where(key, key=True).line}"
        try:
            entity = names.entity(_words(value), source)
        except ValueError as error:
            findings.add(str(error), key)
            continue
        try:
            place = _place(key)
        except ValueError as error:
            findings.add(str(error), key, key=True)
            continue
        if isinstance(place, bytes):
            if place in macs:
                findings.add("this card is mapped already", key, key=True)
            macs[place] = entity
        else:
            if place in prefixes:
                findings.add("this address or prefix is mapped already", key, key=True)
            prefixes[place] = entity
    findings.raise_any()
    return Told(prefixes, macs)


def parse_assumptions(texts: Sequence[str], names: Names) -> tuple[Told, Entity | None]:
    """What options like `10.0.0.0/8=segment:office` say, and who all others are (`outside`). Raises InputError."""
    prefixes: dict[Prefix, Entity] = {}
    macs: dict[bytes, Entity] = {}
    otherwise: Entity | None = None
    problems = []
    for text in texts:
        where, separator, words = text.rpartition("=")
        try:
            entity = names.entity(words, f"{ASSUME} {text}")
            place = _place(where) if separator else None
        except ValueError as error:
            problems.append(Problem(ASSUME, f"{quote(text)}: {error}"))
            continue
        if place is None:
            otherwise = entity
        elif isinstance(place, bytes):
            macs[place] = entity
        else:
            prefixes[place] = entity
    if problems:
        raise InputError(problems)
    return Told(prefixes, macs), otherwise


def _words(value: str | dict[str, str]) -> str:
    """A value as text: `{segment: web}` says the same as `segment:web`."""
    if isinstance(value, str):
        return value
    if len(value) != 1:
        raise ValueError("expected one of user, workload, device, host and segment")
    ((kind, name),) = value.items()
    return f"{kind}:{name}"


def _place(text: str) -> Prefix | bytes:
    """The prefix or the six bytes of a MAC address that a key names."""
    try:
        mac = parse_mac(text)
    except ValueError:
        try:
            return parse_prefix(text)
        except ValueError as error:
            raise ValueError(f"{error}; or an address, or a MAC address") from None
    if is_multicast(mac):
        raise ValueError("expected the MAC address of one card, found a group's")
    return mac.to_bytes(6, "big")
