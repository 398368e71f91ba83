"""What takes a session back reaches every entry that names it, of whatever kind, and nobody else's."""

from __future__ import annotations

import pytest

from fakes.frames import Host
from fakes.site import ALICE, DB, ONE_SWITCH, TWO_SWITCHES, WEB, Site
from zethane.audit.reason import SessionEvent
from zethane.pipeline.fields import split_cookie
from zethane.pipeline.flow import EntryKey
from zethane.pipeline.tables import Table
from zethane.service.removals import bindings_of, connections_of

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff]}
rules:
  - {id: web-db, from: [web], to: [db], services: [tcp/5432], enforce: switch}
  - {id: staff-web, from: [staff], to: [web], services: [tcp/443]}
  - {id: near, from: {segments: [staff], networks: [10.0.0.0/24]}, to: [web], services: [tcp/22]}
"""
WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
DB1 = Host(3, "02:00:00:00:00:14", "10.0.0.14")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
TABLET = Host(5, "02:00:00:00:00:22", "10.0.0.22")


@pytest.mark.parametrize("network", [ONE_SWITCH, TWO_SWITCHES], ids=["one switch", "two switches"])
async def test_every_entry_that_names_a_session_is_reached_and_no_other(network: str) -> None:
    site = await Site(network, POLICY).start()
    far = "s1" if network == ONE_SWITCH else "s2"
    numbers = [site.login(WEB1, WEB, far).number, site.login(DB1, DB).number, site.login(LAPTOP, ALICE).number]
    site.admin.claim_address(site.endpoint(LAPTOP, address="2001:db8::21"), numbers[2])
    entries = [entry for switch in site.switches.values() for entry in switch.tables.values()]
    owned = (Table.SOURCE, Table.DESTINATION, Table.CONNECTION, Table.OWNER)
    for number in numbers:
        removals = [*bindings_of(number), *connections_of(number)]
        reached = [entry for entry in entries if any(one.takes(entry.key, entry.cookie) for one in removals)]
        naming = [entry for entry in entries if entry.table in owned and number in split_cookie(entry.cookie)[:2]]
        assert reached == naming
        assert {entry.table for entry in reached} == set(owned)


async def test_all_sessions_that_end_together_are_barred_before_more_is_done_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = await Site(ONE_SWITCH, POLICY).start()
    numbers = {site.login(host, ALICE).number for host in (LAPTOP, TABLET)}
    site.login(WEB1, WEB)
    removals = [removal for number in numbers for removal in bindings_of(number)]

    def held() -> list[EntryKey]:
        entries = site.s1.tables.values()
        return [entry.key for entry in entries if any(one.takes(entry.key, entry.cookie) for one in removals)]

    said = [held()]
    assert said[0]
    monkeypatch.setattr(site.state.journal, "session", lambda *_: said.append(held()))
    assert set(site.admin.life.end_account("user:alice", SessionEvent.BLOCKED)) == numbers
    assert said[1:] == [[], []]
