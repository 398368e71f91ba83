"""The record of every flow that ends, and what it counts, whatever comes in between."""

from __future__ import annotations

import pytest

from fakes.frames import Host
from fakes.site import ALICE, WEB, Site
from zethane.net.flowkey import TCP
from zethane.pipeline.fields import cookie
from zethane.pipeline.verified import FIN_IDLE, idle_timeout
from zethane.service.accounting import REMOVED_DELETED, REMOVED_IDLE
from zethane.service.flows import LiveFlow
from zethane.service.switch import FlowRemoved

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")


def report(site: Site, flow: LiveFlow, packets: int, *, reason: int = REMOVED_DELETED, idle: int = 0) -> None:
    """Both of a flow's rules are gone from the switch, with so many packets each; `idle` in seconds."""
    why = cookie(flow.subject, flow.object, flow.rule)
    for key in (flow.key, flow.key.reverse()):
        site.admin.flow_removed(site.s1, FlowRemoved(why, reason, key, packets, 100 * packets, idle, 0, 0))


async def open_and_close(site: Site) -> LiveFlow:
    """A flow that is opened and taken out of force; the switch is slow, and has not said so yet."""
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 443))
    (flow,) = site.state.flows.by_key.values()
    site.state.flows.close(flow, "address-released", site.now)
    return flow


async def test_a_flow_that_is_opened_and_closed_again_before_the_switch_reports_loses_no_record() -> None:
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    first, second, third = [await open_and_close(site) for _ in range(3)]
    site.admin.accounting.settle(site.now)
    assert [flow for flow, *_ in site.records.of("flow_ended")] == [first, second]
    for flow, packets in ((first, 3), (second, 5), (third, 7)):
        assert len(site.records.of("flow_ended")) == 2
        assert site.state.flows.is_closing(third.subject)
        report(site, flow, packets)
    assert [flow for flow, *_ in site.records.of("flow_ended")] == [first, second, third]
    # One packet of each was delivered by the controller; the reports come with the last.
    assert [flow.counts[0] for flow in (first, second, third)] == [1, 1, 1 + 3 + 5 + 7]
    assert third.counts[2] == 3 + 5 + 7
    assert not site.state.flows.is_closing(third.subject)


async def test_flows_that_others_have_followed_have_their_records_when_the_controller_stops() -> None:
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    closed = [await open_and_close(site) for _ in range(2)]
    site.admin.accounting.finish()
    assert [flow for flow, *_ in site.records.of("flow_ended")] == closed


@pytest.mark.parametrize("untimed", [False, True])
async def test_an_entry_that_runs_out_while_it_is_taken_back_has_its_counters_in_the_record(untimed: bool) -> None:
    """The connection had ended 2 s before its session does, and the switch's walk is faster than the message."""
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    flow = await open_and_close(site)
    if untimed:
        site.state.flows.set_idle_timeout(flow, 0)
    report(site, flow, 4, reason=REMOVED_IDLE, idle=FIN_IDLE)
    (record,) = site.records.of("flow_ended")
    assert record[0] is flow
    assert (flow.counts[0], flow.counts[2]) == (1 + 4, 4)
    assert not site.state.flows.is_closing(flow.subject)


async def test_an_entry_that_ran_out_in_its_test_and_is_written_again_has_its_record_when_that_is_taken_back() -> None:
    """Its session ends meanwhile: what came before and what came after are counted, in one record."""
    site = await Site().start()
    site.login(WEB1, WEB)
    site.login(LAPTOP, ALICE)
    flow = await open_and_close(site)
    site.state.flows.set_idle_timeout(flow, 0)
    report(site, flow, 4, reason=REMOVED_IDLE, idle=idle_timeout(TCP))
    assert not site.records.of("flow_ended")
    report(site, flow, 2)
    assert [one for one, *_ in site.records.of("flow_ended")] == [flow]
    assert (flow.counts[0], flow.counts[2]) == (1 + 4 + 2, 4 + 2)
