"""Hypothesis strategies for policies that ask everything a rule can ask, and for rewrites that keep their meaning."""

from __future__ import annotations

import copy
import ipaddress
from collections.abc import Callable
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from strategies.policy import NETWORKS, NOW, conditions, devices, ports, read, services
from zethane.errors import InputError
from zethane.policy.model import Policy
from zethane.policy.principal import External, Principal

File = dict[str, Any]

SELECTORS: dict[str, Any] = {
    "app": {"labels": {"tier": "app"}},
    "db": {"labels": {"tier": "db"}},
    "staff": {"groups": ["ops", "staff"]},
    "lab": {"labels": {"tier": "app", "site": "lab"}, "groups": ["guests"]},
    "all": {"labels": {"site": "lab"}},
}
"""Some of which others take members from, and none of which a principal has to be in."""

ADDRESSES = ("10.0.0.7", "10.1.0.7", "192.0.2.1", "2001:db8::7", "2001:db8:1::7")
OWN_NETWORKS = ("10.0.0.0/16", "10.0.0.0/8", "2001:db8::/48", "2001:db8::/32", "0.0.0.0/0", "::/0")

WINDOWS = (
    "Mon-Fri 07:00-19:00 Europe/Berlin",
    "Mon-Fri 08:00-20:00 Europe/Berlin",
    "Sat,Sun 00:00-24:00 UTC",
    "Mon-Sun 22:00-06:00 America/New_York",
    "Sun 02:30-03:30 Europe/Berlin",
)


@st.composite
def _itself(draw: st.DrawFn) -> dict[str, Any]:
    """What a rule asks of a principal itself."""
    asked = {
        "labels": {"tier": draw(st.sampled_from(("app", "db")))} if draw(st.booleans()) else {"site": "lab"},
        "groups": draw(st.lists(st.sampled_from(("guests", "ops", "staff")), min_size=1, max_size=2, unique=True)),
        "networks": draw(st.lists(st.sampled_from(OWN_NETWORKS), min_size=1, max_size=2, unique=True)),
    }
    return {
        key: asked[key] for key in draw(st.lists(st.sampled_from(sorted(asked)), min_size=1, max_size=2, unique=True))
    }


@st.composite
def whens(draw: st.DrawFn) -> dict[str, Any]:
    """What `when` may be, of both ends and the time."""
    when = draw(conditions()) if draw(st.booleans()) else {}
    if draw(st.integers(0, 3)) == 0:
        when = {**when, "subject": draw(_itself())}
    if draw(st.integers(0, 3)) == 0:
        when = {**when, "object": draw(_itself())}
    if draw(st.integers(0, 3)) == 0:
        when = {**when, "hours": draw(st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=2, unique=True))}
    return when


@st.composite
def _rules(draw: st.DrawFn, names: tuple[str, ...]) -> dict[str, Any]:
    sides = []
    outside = draw(st.sampled_from(("", "", "", "from", "to")))
    for side in ("from", "to"):
        some = draw(st.one_of(st.just(["any"]), st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)))
        networks = (
            draw(st.lists(st.sampled_from(NETWORKS), min_size=1, max_size=2, unique=True)) if outside == side else []
        )
        sides.append({"segments": some, "networks": networks} if networks else some)
    return {
        "from": sides[0],
        "to": sides[1],
        "services": draw(st.lists(services(), min_size=1, max_size=3)),
        "when": draw(whens()) if not outside and draw(st.booleans()) else {},
        "action": draw(st.sampled_from(("allow", "allow", "deny"))),
    }


@st.composite
def full_files(draw: st.DrawFn, max_rules: int = 6) -> File:
    """policy.yaml as plain values. Some of SELECTORS are its segments."""
    names = tuple(draw(st.lists(st.sampled_from(sorted(SELECTORS)), min_size=1, unique=True)))
    return {
        "version": 1,
        "segments": {name: SELECTORS[name] for name in names},
        "rules": [
            {"id": f"r{number}", **rule}
            for number, rule in enumerate(draw(st.lists(_rules(names), max_size=max_rules)))
        ],
    }


@st.composite
def somebody(draw: st.DrawFn, address: str) -> Principal:
    """A principal with labels and groups that segments ask for, in none, one or several of them."""
    labels = {}
    if tier := draw(st.sampled_from(("", "app", "db", "web"))):
        labels["tier"] = tier
    if draw(st.booleans()):
        labels["site"] = "lab"
    factor = draw(st.none() | st.sampled_from((0, 599, 600, 900, 3600, 86400)))
    device = draw(st.none() | devices().filter(lambda one: len(dict(one.labels)) == len(one.labels)))
    return Principal(
        "user",
        "somebody",
        frozenset(draw(st.lists(st.sampled_from(("guests", "ops", "staff")), max_size=2))),
        tuple(sorted(labels.items())),
        factor is not None,
        None if factor is None else NOW - factor,
        draw(st.integers(0, 3)),
        device,
        ipaddress.ip_address(address),
    )


@st.composite
def questions(draw: st.DrawFn) -> tuple[Principal | External, Principal | External, int, int]:
    """Two ends of one IP version, at most one of them outside, with an IP protocol and a port."""
    version = draw(st.sampled_from((4, 6)))
    own = [one for one in ADDRESSES if ipaddress.ip_address(one).version == version]
    far = [
        one
        for one in ("198.51.100.80", "203.0.113.9", "2001:db8:ffff:1::80", "2001:db8:eeee::1")
        if (":" in one) == (version == 6)
    ]
    ends: list[Principal | External] = [draw(somebody(draw(st.sampled_from(own)))) for _ in range(2)]
    outside = draw(st.sampled_from((None, None, 0, 1)))
    if outside is not None:
        ends[outside] = External(ipaddress.ip_address(draw(st.sampled_from(far))))
    return ends[0], ends[1], draw(st.sampled_from((1, 6, 17, 58, 132, 47))), draw(ports)


Rewrite = Callable[[st.DrawFn, File], None]


def _pick(draw: st.DrawFn, file: File) -> dict[str, Any] | None:
    return draw(st.sampled_from(file["rules"])) if file["rules"] else None


def _fresh(file: File) -> str:
    return f"n{len(file['rules'])}x{sum(len(rule['id']) for rule in file['rules'])}"


def _with_copy(file: File, rule: dict[str, Any], **changed: Any) -> None:
    file["rules"].append({**copy.deepcopy(rule), "id": _fresh(file), **changed})


def _shuffled(draw: st.DrawFn, file: File) -> None:
    file["rules"] = draw(st.permutations(file["rules"]))


def _split_list(draw: st.DrawFn, file: File) -> None:
    """One rule for a part of its sources, targets or services, another for the rest."""
    rule = _pick(draw, file)
    key = draw(st.sampled_from(("from", "to", "services")))
    if rule is None or not isinstance(rule[key], list) or len(rule[key]) < 2:
        return
    at = draw(st.integers(1, len(rule[key]) - 1))
    _with_copy(file, rule, **{key: rule[key][at:]})
    rule[key] = rule[key][:at]


def _split_networks(draw: st.DrawFn, file: File) -> None:
    """A prefix as its two halves."""
    rule = _pick(draw, file)
    for key in ("from", "to"):
        if rule is not None and isinstance(rule[key], dict):
            first, *rest = rule[key]["networks"]
            network = ipaddress.ip_network(first)
            if network.prefixlen < network.max_prefixlen:
                halves = [str(one) for one in network.subnets() if str(one) not in rest]
                rule[key] = {**rule[key], "networks": [*halves, *rest]}


def _split_ports(draw: st.DrawFn, file: File) -> None:
    rule = _pick(draw, file)
    if rule is None:
        return
    word = draw(st.sampled_from(rule["services"]))
    proto, _, span = word.partition("/")
    if proto in ("icmp", "any") or word in file.get("services", {}):
        return
    low, _, high = (span or "0-65535").partition("-")
    if not high or low == high:
        return
    at = draw(st.integers(int(low), int(high) - 1))
    rule["services"] = [one for one in rule["services"] if one != word] + [
        f"{proto}/{low}-{at}",
        f"{proto}/{at + 1}-{high}",
    ]


def _named(draw: st.DrawFn, file: File) -> None:
    """A name in the place of services."""
    rule = _pick(draw, file)
    if rule is None or any(word in file.get("services", {}) for word in rule["services"]):
        return
    name = f"s-{rule['id']}"
    file.setdefault("services", {})[name] = rule["services"]
    rule["services"] = [name]


def _spelled_out(draw: st.DrawFn, file: File) -> None:
    """Every segment in the place of any."""
    rule = _pick(draw, file)
    for key in ("from", "to"):
        if rule is not None and rule[key] == ["any"]:
            rule[key] = list(file["segments"])


def _redundant(draw: st.DrawFn, file: File) -> None:
    """A rule more that adds nothing: for fewer services, and under one condition more."""
    rule = _pick(draw, file)
    if rule is None:
        return
    more = {"aal": 3} if _asks_sessions(rule) else {}
    _with_copy(file, rule, services=rule["services"][:1], when={**more, **rule["when"]})


def _asks_sessions(rule: dict[str, Any]) -> bool:
    return not isinstance(rule["from"], dict)


def _by_factor(draw: st.DrawFn, file: File) -> None:
    """One rule for those with a second factor, another for those without."""
    rule = _pick(draw, file)
    if rule is None or not _asks_sessions(rule) or "mfa" in rule["when"]:
        return
    _with_copy(file, rule, when={**rule["when"], "mfa": True})
    rule["when"] = {**rule["when"], "mfa": False}


def _by_hours(draw: st.DrawFn, file: File) -> None:
    """One rule for the day and another for the rest; whatever the zone, the day ends at some time."""
    rule = _pick(draw, file)
    if rule is None or not _asks_sessions(rule) or "hours" in rule["when"]:
        return
    zone = draw(st.sampled_from(("UTC", "Europe/Berlin")))
    _with_copy(file, rule, when={**rule["when"], "hours": f"Mon-Sun 08:00-17:00 {zone}"})
    rule["when"] = {**rule["when"], "hours": [f"Mon-Sun 17:00-00:00 {zone}", f"Mon-Sun 00:00-08:00 {zone}"]}


def _split_hours(draw: st.DrawFn, file: File) -> None:
    rule = _pick(draw, file)
    if rule is None or "hours" not in rule["when"]:
        return
    windows = rule["when"]["hours"]
    windows = [windows] if isinstance(windows, str) else list(windows)
    swap = {
        WINDOWS[0]: [
            "Mon-Wed 07:00-12:00 Europe/Berlin",
            "Mon-Wed 11:00-19:00 Europe/Paris",
            "Thu,Fri 07:00-19:00 Europe/Berlin",
        ],
        WINDOWS[2]: ["Sat 00:00-24:00 UTC", "Sun 00:00-12:00 UTC", "Sun 12:00-00:00 UTC"],
    }
    when = {**rule["when"], "hours": [part for one in windows for part in swap.get(one, [one])]}
    rule["when"] = when


def _idle_deny(_: st.DrawFn, file: File) -> None:
    """A deny of what nothing allows."""
    if any(
        service in ("any", "sctp") or service.startswith("sctp")
        for rule in file["rules"]
        for service in rule["services"]
    ):
        return
    if not file.get("services"):
        file["rules"].append(
            {"id": _fresh(file), "from": ["any"], "to": ["any"], "services": ["sctp"], "when": {}, "action": "deny"}
        )


def _renamed(_: st.DrawFn, file: File) -> None:
    names = {name: f"{name}-2" for name in file["segments"]}
    file["segments"] = {names[name]: selector for name, selector in file["segments"].items()}
    for number, rule in enumerate(file["rules"]):
        rule["id"] = f"z{len(file['rules']) - number}"
        for key in ("from", "to"):
            ends = rule[key]["segments"] if isinstance(rule[key], dict) else rule[key]
            changed = [names.get(name, name) for name in ends]
            rule[key] = {**rule[key], "segments": changed} if isinstance(rule[key], dict) else changed


def _split_segment(_: st.DrawFn, file: File) -> None:
    """Two segments in the place of one, each with one of its two groups."""
    name = next((name for name, selector in file["segments"].items() if selector == SELECTORS["staff"]), None)
    if name is None:
        return
    file["segments"] = {**file["segments"], name: {"groups": ["staff"]}, f"{name}-b": {"groups": ["ops"]}}
    for rule in file["rules"]:
        for key in ("from", "to"):
            ends = rule[key]["segments"] if isinstance(rule[key], dict) else rule[key]
            changed = [*ends, f"{name}-b"] if name in ends else ends
            rule[key] = {**rule[key], "segments": changed} if isinstance(rule[key], dict) else changed


REWRITES: tuple[Rewrite, ...] = (
    _shuffled,
    _split_list,
    _split_networks,
    _split_ports,
    _named,
    _spelled_out,
    _redundant,
    _by_factor,
    _by_hours,
    _split_hours,
    _idle_deny,
    _renamed,
    _split_segment,
)


@st.composite
def rewritten(draw: st.DrawFn) -> tuple[File, File]:
    """A policy, and the same written otherwise."""
    file = draw(full_files())
    other = copy.deepcopy(file)
    for rewrite in draw(st.lists(st.sampled_from(REWRITES), min_size=1, max_size=6)):
        rewrite(draw, other)
    return file, other


def loaded(file: File) -> Policy:
    """The policy, if it asks for no more different conditions than a policy may."""
    try:
        return read(file)
    except InputError as error:
        assume(not all("different conditions" in problem.message for problem in error.problems))
        raise
