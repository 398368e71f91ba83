"""Rules and policies that are staged: nothing is decided by them, and every record says what would be."""

from __future__ import annotations

from typing import Any

from fakes.frames import ACK, Host, packed
from fakes.site import ALICE, DB, POLICY, WEB, Site
from zethane.policy.load import parse_policy
from zethane.policy.stage import OPEN, OPEN_IN, OPEN_OUT, WouldBe, compose
from zethane.service.metrics import metrics_of

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
WWW = Host(7, "02:00:00:00:00:01", "198.51.100.80")

STAGED = """
  - {id: no-tcp, from: [staff], to: [web], services: [tcp/443], action: deny, stage: audit}
  - {id: db-web, from: [db], to: [web], services: [tcp/9000], stage: audit}
"""
UPLINK = """
switches: {s1: {}}
portal: {switch: s1, port: 1, ip: 10.0.0.254/24, mac: "02:00:00:00:00:fe"}
uplinks:
  wan: {switch: s1, port: 7, mac: "02:00:00:00:00:01", ip: [10.0.0.1/24], networks: [198.51.100.0/24]}
"""


async def site_with(*texts: str, network: str | None = None) -> Site:
    """A site on which these policies came into force, one after the other; the first at the start."""
    site = Site(network) if network else Site()
    await stage(site, *texts)
    await site.start()
    site.login(WEB1, WEB)
    site.login(DB1, DB)
    site.login(LAPTOP, ALICE)
    site.s1.take()
    return site


async def stage(site: Site, *texts: str) -> None:
    """As the controller does it with each version of its file."""
    for text in texts:
        policy = parse_policy(text, "policy.yaml")
        staging = compose(policy, getattr(site, "before", None))
        await site.admin.use_policy(staging.enforced, staging.staged)
        if policy.stage == "enforce":
            site.before = policy  # type: ignore[attr-defined]


def opens(site: Site, sender: Host, frame: bytes) -> list[int]:
    """The ports that a packet goes out of, by the switch itself or by way of the controller."""
    site.s1.take()
    site.s1.send(sender.port, frame)
    return [port for port, _ in site.s1.take()]


def allowed(site: Site) -> list[tuple[str, WouldBe | None]]:
    """Rule of each flow that was let through, and what would have been decided."""
    return [(arguments[2], arguments[4]) for arguments in site.records.of("allowed")]


def denied(site: Site) -> list[tuple[str, WouldBe | None]]:
    return [(what.reason.value, what.staged) for what, _ in site.records.of("denied")]


def staged_counts(site: Site) -> dict[str, float]:
    (metric,) = (metric for metric in metrics_of(site.state) if metric.name == "staged")
    return {labels["would"]: value for labels, value in metric.samples}


async def test_a_staged_deny_lets_the_flow_pass_and_the_record_says_what_it_would_do() -> None:
    site = await site_with(POLICY + STAGED)
    assert opens(site, LAPTOP, LAPTOP.tcp(WEB1, 40000, 443)) == [2]
    assert opens(site, LAPTOP, LAPTOP.udp(WEB1, 40000, 443)) == [2]
    assert allowed(site) == [
        ("staff-web", WouldBe(False, "no-tcp", "deny-rule")),
        ("staff-web", WouldBe(True, "staff-web", "rule")),
    ]
    assert staged_counts(site) == {"deny": 1, "allow": 0}


async def test_a_staged_allow_lets_nothing_pass_and_the_record_says_what_it_would() -> None:
    site = await site_with(POLICY + STAGED)
    assert opens(site, DB1, DB1.tcp(WEB1, 40000, 9000)) == []
    assert opens(site, DB1, DB1.tcp(WEB1, 40000, 9001)) == []
    assert denied(site) == [
        ("no-rule", WouldBe(True, "db-web", "rule")),
        ("no-rule", WouldBe(False, None, "no-rule")),
    ]
    assert staged_counts(site) == {"deny": 0, "allow": 1}


async def test_a_staged_rule_writes_nothing_to_a_switch_and_cuts_nothing() -> None:
    site = await site_with(POLICY)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    before, sent = dict(site.s1.tables), site.s1.flow_mods
    await stage(site, POLICY + STAGED)
    assert site.s1.tables == before
    assert site.s1.flow_mods == sent
    assert site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443, ACK)).ports == [2]
    assert site.records.of("policy")[-1][2] == "2 of its rules are staged"


async def test_without_anything_staged_records_are_as_ever() -> None:
    site = await site_with(POLICY)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(3, DB1.tcp(WEB1, 40000, 9001))
    assert [one for _, one in (*allowed(site), *denied(site))] == [None, None]
    assert staged_counts(site) == {"deny": 0, "allow": 0}


async def test_what_policy_has_no_say_in_is_denied_with_its_own_reason() -> None:
    site = await site_with(POLICY + STAGED)
    stranger = Host(6, "02:00:00:00:00:66", "10.0.0.66")
    site.s1.send(6, stranger.tcp(WEB1, 40000, 443))
    site.s1.send(4, LAPTOP.tcp(stranger, 40000, 443))
    found = denied(site)
    assert [reason for reason, _ in found] == ["unauthenticated", "unknown-destination"]
    assert [staged for _, staged in found] == [WouldBe(False, None, reason) for reason, _ in found]


WHOLE = "stage: audit\n" + POLICY


async def test_a_policy_that_is_staged_first_of_all_lets_every_session_open_everything_flow_by_flow() -> None:
    site = await site_with(WHOLE, network=UPLINK)
    assert opens(site, LAPTOP, LAPTOP.tcp(WEB1, 40000, 443)) == [2]
    assert opens(site, DB1, DB1.tcp(WEB1, 40000, 22)) == [2]
    assert opens(site, WEB1, WEB1.tcp(DB1, 40001, 22)) == [3]
    assert opens(site, LAPTOP, LAPTOP.tcp(WWW, 40000, 443)) == [7]
    assert opens(site, WWW, WWW.tcp(WEB1, 40000, 443)) == [2]
    assert allowed(site) == [
        (OPEN, WouldBe(True, "staff-web", "rule")),
        (OPEN, WouldBe(False, None, "no-rule")),
        (OPEN, WouldBe(False, "no-ssh", "deny-rule")),
        (OPEN_OUT, WouldBe(False, None, "no-rule")),
        (OPEN_IN, WouldBe(False, None, "no-rule")),
    ]
    assert "every session may open everything" in site.records.of("policy")[-1][2]


async def test_who_has_not_logged_in_reaches_nothing_under_it() -> None:
    site = await site_with(WHOLE)
    stranger = Host(6, "02:00:00:00:00:66", "10.0.0.66")
    assert opens(site, stranger, stranger.tcp(WEB1, 40000, 443)) == []
    assert opens(site, LAPTOP, LAPTOP.tcp(stranger, 40000, 443)) == []


async def test_the_policy_of_before_stays_in_force_under_one_that_is_staged() -> None:
    site = await site_with(POLICY)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    before, sent = dict(site.s1.tables), site.s1.flow_mods
    await stage(site, WHOLE.replace("tcp/443, udp/443", "udp/443"))
    assert (site.s1.tables, site.s1.flow_mods) == (before, sent)
    assert opens(site, LAPTOP, LAPTOP.tcp(WEB1, 40001, 443)) == [2]
    assert opens(site, WEB1, WEB1.tcp(DB1, 40001, 22)) == []
    assert allowed(site)[1] == ("staff-web", WouldBe(False, None, "no-rule"))


async def test_enforcing_it_ends_exactly_the_flows_of_which_the_log_said_so() -> None:
    site = await site_with(WHOLE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    site.s1.send(3, DB1.tcp(WEB1, 40000, 22))
    site.s1.send(2, WEB1.tcp(DB1, 40001, 5432))
    site.s1.send(2, WEB1.tcp(DB1, 40002, 22))
    would_end = {flow.key for flow, _, _, _, staged in site.records.of("allowed") if not staged.allowed}
    await stage(site, WHOLE.removeprefix("stage: audit\n"))
    ports = {2: WEB1, 3: DB1, 4: LAPTOP}
    ended = set()
    for flow, *_ in site.records.of("allowed")[:4]:
        source, target = (next(host for host in ports.values() if packed(host.ip) == end) for end in flow.key[:2])
        if opens(site, source, source.tcp(target, flow.key.sport, flow.key.dport, ACK)) == []:
            ended.add(flow.key)
    assert ended == would_end
    assert len(would_end) == 2
    assert site.state.staged is None


async def test_who_would_be_in_no_segment_would_be_denied_and_is_not_now() -> None:
    site = await site_with(POLICY)
    await stage(site, WHOLE.replace("groups: [staff]", "groups: [people]"))
    assert opens(site, LAPTOP, LAPTOP.tcp(WEB1, 40000, 443)) == [2]
    assert allowed(site) == [("staff-web", WouldBe(False, None, "no-segment"))]


def test_the_words_of_a_record() -> None:
    view: Any = WouldBe(False, "no-tcp", "deny-rule").view()
    assert view == {"decision": "deny", "rule": "no-tcp", "reason": "deny-rule"}
