"""Denials are logged at a bounded rate per port, and counted all."""

from __future__ import annotations

from fakes.frames import Host
from fakes.site import Site
from zethane.audit.reason import DenyReason
from zethane.service.denial_log import MAX_PLACES, DenialLog
from zethane.service.journal import Denied
from zethane.service.points import MeterRates

NOW = 1000.0


def denied(port: int = 3, reason: DenyReason = DenyReason.NO_RULE, switch: str = "s1") -> Denied:
    return Denied(reason, switch, port, None, None, None, None)


def admitted(log: DenialLog, what: Denied, number: int, now: float = NOW) -> int:
    return sum(log.admit(what, now) for _ in range(number))


def test_a_port_is_logged_at_its_rate() -> None:
    log = DenialLog(10)
    assert admitted(log, denied(), 1000) == 10
    assert admitted(log, denied(), 1000, NOW + 0.5) == 5
    assert admitted(log, denied(), 1000, NOW + 10) == 10


def test_a_flood_from_one_port_keeps_nothing_of_another_out() -> None:
    log = DenialLog(10)
    admitted(log, denied(3), 10_000)
    assert admitted(log, denied(4), 10) == 10
    assert admitted(log, denied(3, switch="s2"), 10) == 10


def test_a_flood_of_one_kind_does_not_hide_another_kind_of_the_same_port() -> None:
    log = DenialLog(10)
    admitted(log, denied(), 10_000)
    assert admitted(log, denied(reason=DenyReason.NEIGHBOUR_SPOOF), 5) == 1
    log.account()
    assert admitted(log, denied(reason=DenyReason.NEIGHBOUR_SPOOF), 5) == 1


def test_what_is_left_out_is_told_once_and_the_count_is_of_everything() -> None:
    log = DenialLog(10)
    admitted(log, denied(), 100)
    admitted(log, denied(4, DenyReason.QUOTA), 30)
    assert log.account() == [(("s1", 3, "no-rule"), 90), (("s1", 4, "quota"), 20)]
    assert log.account() == []
    assert log.denied == {("s1", 3, "no-rule"): 100, ("s1", 4, "quota"): 30}
    assert log.suppressed == 110


def test_a_switch_that_invents_ports_costs_bounded_memory() -> None:
    log = DenialLog(10)
    for port in range(MAX_PLACES + 500):
        log.admit(denied(port), NOW)
    assert len(log.denied) <= MAX_PLACES + len(DenyReason)
    assert log.denied["s1", 0, "no-rule"] == 500 + 1
    assert sum(log.denied.values()) == MAX_PLACES + 500


async def test_the_site_logs_what_it_left_out_at_the_accounting_interval() -> None:
    site = await Site(meters=MeterRates(denied=5)).start()
    stranger = Host(2, "02:00:00:00:00:66", "10.0.0.66")
    other = Host(3, "02:00:00:00:00:67", "10.0.0.67")
    for port in range(100):
        site.s1.send(stranger.port, stranger.udp(other, port, 53))
    site.s1.send(other.port, other.udp(stranger, 1, 53))
    assert site.records.reasons() == ["unauthenticated"] * 6
    site.admin.accounting.suppressed_denials()
    assert site.records.of("suppressed") == [("s1", 2, "log", "unauthenticated", 95, site.now)]
