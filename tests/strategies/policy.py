"""Hypothesis strategies for policies, principals and flows that have something to do with each other.

Names come from small pools, so that rules often meet, overlap and contradict one another.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from zethane.policy.load import parse_policy
from zethane.policy.model import MAX_CONDITIONS, Policy
from zethane.policy.principal import DeviceFacts, External, Principal

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
"""How long an example takes depends on what else the machine does."""

SEGMENTS = ("app", "db", "staff", "web")
PORTS = (0, 1, 22, 53, 79, 80, 81, 443, 8080, 65534, 65535)
IP_PROTOCOLS = (1, 6, 17, 58, 132, 47, 253)

NETWORKS = (
    "0.0.0.0/0",
    "198.51.0.0/16",
    "198.51.100.0/24",
    "198.51.100.80/32",
    "203.0.113.0/24",
    "::/0",
    "2001:db8:ffff::/48",
    "2001:db8:ffff:1::/64",
)
"""Prefixes that contain one another, or not."""

OUTSIDE = (
    "198.51.100.80",
    "198.51.100.7",
    "198.51.7.1",
    "203.0.113.9",
    "8.8.8.8",
    "2001:db8:ffff:1::80",
    "2001:db8:ffff:2::1",
    "2001:db8:eeee::1",
)
"""Addresses in some of NETWORKS each."""

ports = st.sampled_from(PORTS)


@st.composite
def services(draw: st.DrawFn) -> str:
    """The text of a service."""
    proto = draw(st.sampled_from(("tcp", "udp", "sctp", "icmp", "any")))
    if proto in ("icmp", "any") or draw(st.integers(0, 4)) == 0:
        return proto
    low, high = sorted((draw(ports), draw(ports)))
    return f"{proto}/{low}" if low == high else f"{proto}/{low}-{high}"


def _parties() -> st.SearchStrategy[list[str]]:
    some = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4, unique=True)
    return st.one_of(some, st.just(["any"]))


@st.composite
def _with_networks(draw: st.DrawFn) -> dict[str, Any]:
    """A side of a rule with networks, and with segments or without."""
    networks = draw(st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=3, unique=True))
    return {"networks": networks} | ({"segments": draw(_parties())} if draw(st.booleans()) else {})


AGES = (600, 900, 3600, 86400)
"""Seconds of `within` and `max_age`; postures and factors are as old, and a second younger or older."""

NOW = 1_000_000.0
"""When generated principals have proved and measured what they have."""

LABELS = (("managed", "no"), ("managed", "yes"), ("owner", "us"))
ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "disk": (True, False, 1),
    "os": (">=12", ">=12.5", "12.5", "13"),
    "level": (0, 1),
}
MEASURED: dict[str, tuple[Any, ...]] = {
    "disk": (True, False, 1, 0),
    "os": ("11.9", "12", "12.5", "13", "x"),
    "level": (0, 1, True),
}


@st.composite
def _device_conditions(draw: st.DrawFn) -> Any:
    """What `when.device` may be."""
    if draw(st.booleans()):
        return True
    labels = dict(draw(st.lists(st.sampled_from(LABELS), max_size=2)))
    groups = draw(st.lists(st.sampled_from(("kiosks", "laptops")), max_size=2, unique=True))
    return {"labels": labels or {"managed": "yes"}} | ({"groups": groups} if groups else {})


@st.composite
def _postures(draw: st.DrawFn) -> dict[str, Any]:
    """What `when.posture` may be."""
    names = draw(st.lists(st.sampled_from(sorted(ATTRIBUTES)), min_size=1, max_size=2, unique=True))
    asked = {name: draw(st.sampled_from(ATTRIBUTES[name])) for name in names}
    return asked | ({"max_age": f"{draw(st.sampled_from(AGES))}s"} if draw(st.booleans()) else {})


SITES = ("basel", "bern")
OWN_LABELS = (("site", "basel"), ("site", "bern"), ("zone", "red"))
OWN_GROUPS = ("admins", "interns")
OWN_NETWORKS = ("10.0.0.0/30", "10.0.0.0/29", "10.0.0.4/32", "2001:db8::/126", "2001:db8::4/128", "0.0.0.0/0", "::/0")
ADDRESSES = ("10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.9", "2001:db8::2", "2001:db8::4", "2001:db8::5")
"""Addresses of members, in some of OWN_NETWORKS each."""


def _some(values: tuple[Any, ...], most: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True)


def _of_itself() -> st.SearchStrategy[dict[str, Any]]:
    """What `when.subject` and `when.object` may be."""
    parts: dict[str, st.SearchStrategy[Any]] = {
        "labels": _some(OWN_LABELS, 2).map(dict),
        "groups": _some(OWN_GROUPS, 2),
        "networks": _some(OWN_NETWORKS, 2),
    }
    return st.fixed_dictionaries({}, optional=parts).filter(bool)


@st.composite
def windows(draw: st.DrawFn) -> str:
    """Hours around NOW, which is a Monday, 13:46:40 UTC: they have often just begun, or ended, or are about to."""
    days = draw(st.sampled_from(("Mon", "Mon-Fri", "Sun", "Sun,Mon", "Tue-Sun")))
    begins = draw(st.sampled_from(("00:00", "07:00", "13:46", "13:47", "19:31", "19:32", "22:00")))
    ends = draw(st.sampled_from(("00:00", "07:00", "13:46", "13:47", "19:31", "19:32", "24:00")))
    return f"{days} {begins}-{ends} {draw(st.sampled_from(('UTC', 'Asia/Calcutta', 'America/New_York')))}"


def hours() -> st.SearchStrategy[Any]:
    """What `when.hours` may be."""
    return windows() | st.lists(windows(), min_size=1, max_size=3)


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    """What `when` may ask of the subject; about as often one thing as several."""
    parts: dict[str, st.SearchStrategy[Any]] = {
        "mfa": st.booleans() | st.sampled_from(AGES).map(lambda age: {"within": f"{age}s"}),
        "aal": st.integers(1, 3),
        "device": _device_conditions(),
        "posture": _postures(),
        "subject": _of_itself(),
    }
    single = st.one_of([strategy.map(lambda value, name=name: {name: value}) for name, strategy in parts.items()])
    return single | st.fixed_dictionaries({}, optional=parts)


EXPRESSIONS = (
    "subject.labels.site == 'bern'",
    "object.labels.site != subject.labels.site || time.hour < 12",
    "subject.labels.site == object.labels.site",
    "object.labels.site == 'bern'",
    "subject.device.posture.level == 1",
    "subject.device.posture.level == 1 && object.kind == 'user'",
    "cidr('198.51.0.0/16').containsIP(object.address)",
    "subject.kind == 'network' || session.mfa",
    "1 / (session.aal - 1) > 0",
    "time.now.getDayOfWeek() in [1, 2, 3, 4, 5]",
)
"""Of either end, of both, of an address, of time; some have no answer for some."""


@st.composite
def rules(draw: st.DrawFn, action: str | None = None, *, expressions: bool = False) -> dict[str, Any]:
    """A rule as the file holds it, without an id; in about half of them one side has networks."""
    outside = draw(st.sampled_from(("", "", "from", "to")))
    when: dict[str, Any] = draw(conditions()) if outside != "from" and draw(st.booleans()) else {}
    if outside != "to" and draw(st.integers(0, 2)) == 0:
        when |= {"object": draw(_of_itself())}
    if draw(st.integers(0, 2)) == 0:
        when |= {"hours": draw(hours())}
    if expressions and draw(st.integers(0, 2)) == 0:
        when |= {"cel": draw(st.sampled_from(EXPRESSIONS))}
    return {
        "from": draw(_with_networks() if outside == "from" else _parties()),
        "to": draw(_with_networks() if outside == "to" else _parties()),
        "services": draw(st.lists(services(), min_size=1, max_size=3)),
        "when": when,
        "action": action or draw(st.sampled_from(("allow", "allow", "deny"))),
    }


@st.composite
def policy_files(draw: st.DrawFn, max_rules: int = 8, *, expressions: bool = False) -> dict[str, Any]:
    """policy.yaml as plain values. Each segment of SEGMENTS selects the label `segment`."""
    drawn = draw(st.lists(rules(expressions=expressions), max_size=max_rules))
    asked: set[str] = set()
    for rule in drawn:
        more = asked | {json.dumps(one, sort_keys=True) for one in _asked(rule["when"])}
        if len(more) > MAX_CONDITIONS - 2:  # with room for one rule more
            rule["when"] = {key: value for key, value in rule["when"].items() if key == "hours"}
        else:
            asked = more
    names = draw(st.permutations([f"r{index}" for index in range(len(drawn))]))
    return {
        "version": 1,
        "segments": {name: {"labels": {"segment": name}} for name in SEGMENTS},
        "rules": [{"id": name, **rule} for name, rule in zip(names, drawn, strict=True)],
    }


def _asked(when: dict[str, Any]) -> list[Any]:
    """What is asked of the subject, and of the object."""
    of_subject = {key: value for key, value in when.items() if key not in ("object", "hours", "cel")}
    said = when.get("cel")  # it may be about either end, and is part of what is asked there
    both = (of_subject | {"cel": said}, {"subject": when.get("object"), "cel": said})
    return [one for one in both if any(value is not None for value in one.values())]


def read(file: dict[str, Any]) -> Policy:
    """The policy that plain values stand for, through the loader."""
    return parse_policy(json.dumps(file), "policy.yaml")


def policies(max_rules: int = 8, *, expressions: bool = False) -> st.SearchStrategy[Policy]:
    """Policies over SEGMENTS."""
    return policy_files(max_rules, expressions=expressions).map(read)


_moments = st.builds(lambda age, more: NOW - age - more, st.sampled_from((0, *AGES)), st.sampled_from((-1, 0, 1)))
"""Moments at which something that NOW looks back on has just lapsed, or is about to."""


@st.composite
def devices(draw: st.DrawFn) -> DeviceFacts:
    """A device that has proved itself, with labels, groups and posture that conditions ask for."""
    posture = draw(st.fixed_dictionaries({}, optional={name: st.sampled_from(had) for name, had in MEASURED.items()}))
    return DeviceFacts(
        "d",
        frozenset(draw(st.lists(st.sampled_from(("kiosks", "laptops")), max_size=2))),
        tuple(sorted(set(draw(st.lists(st.sampled_from(LABELS), max_size=3))))),
        tuple(sorted(posture.items())),
        draw(st.none() | _moments),
    )


@st.composite
def members(draw: st.DrawFn) -> Principal:
    """A principal of exactly one of SEGMENTS, with a second factor of some age and a device, or without."""
    segment = draw(st.sampled_from(SEGMENTS))
    factor = draw(st.none() | _moments)
    device = draw(st.none() | devices())
    site, red = draw(st.none() | st.sampled_from(SITES)), draw(st.booleans())
    address = draw(st.none() | st.sampled_from(ADDRESSES))
    return Principal(
        "user",
        f"{segment}-user",
        frozenset(draw(st.lists(st.sampled_from(OWN_GROUPS), max_size=2))),
        labels=(("segment", segment), *((("site", site),) if site else ()), *((("zone", "red"),) if red else ())),
        mfa=factor is not None,
        mfa_at=factor,
        aal=draw(st.integers(0, 3)),
        device=device,
        address=ipaddress.ip_address(address) if address else None,
    )


externals = st.sampled_from([External(ipaddress.ip_address(address)) for address in OUTSIDE])
"""Addresses outside."""


def parties() -> st.SearchStrategy[Principal | External]:
    """Somebody who is logged in, or an address outside."""
    return members() | externals


flows = st.tuples(st.sampled_from(IP_PROTOCOLS), ports)
"""(IP protocol, destination port) pairs."""
