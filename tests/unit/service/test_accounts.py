"""Accounts that an operator blocks, and another version of identities.yaml, while people work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fakes.frames import ACK, Host
from fakes.records import MemoryStore
from fakes.site import ALICE, MANY_CARDS, WEB, Site, proof_of
from zethane.audit.reason import SessionEvent
from zethane.errors import AccountRefusal, CapacityError
from zethane.identity.directory import parse_identities
from zethane.identity.proof import Method
from zethane.identity.session import Session
from zethane.policy.principal import Principal
from zethane.service import accounts
from zethane.service.accounts import Block
from zethane.service.slices import SLICE

POLICY = """
version: 1
segments:
  web: {labels: {tier: web}}
  machines: {labels: {managed: "yes"}}
  staff: {groups: [staff]}
  guests: {groups: [guests]}
rules:
  - {id: base, from: [staff, guests, machines], to: [web], services: [tcp/80]}
  - {id: more, from: [staff], to: [web], services: [tcp/443]}
"""
HASHES = [f"$argon2id$v=19$m=8,t=1,p=1${'A' * 22}${letter * 43}" for letter in "ABC"]
USER = f'alice: {{groups: [staff], password: "{HASHES[0]}", totp: JBSWY3DPEHPK3PXP}}'
DEVICE = 'alice-laptop: {mac: "02:00:00:00:00:21", labels: {managed: "yes"}, spiffe: "spiffe://lab/alice-laptop"}'
WORKLOAD = f'web1: {{labels: {{tier: web}}, secret: "{HASHES[1]}"}}'

WEB1 = Host(2, "02:00:00:00:00:11", "10.0.0.11")
LAPTOP = Host(4, "02:00:00:00:00:21", "10.0.0.21")
MACHINE = Principal("device", "alice-laptop", labels=(("managed", "yes"),))


def directory(user: str = USER, device: str = DEVICE, workload: str = WORKLOAD) -> Any:
    text = f"users: {{{user}}}\ndevices: {{{device}}}\nworkloads: {{{workload}}}\n"
    return parse_identities(text, "identities.yaml")


def start(site: Site, principal: Principal, method: Method = "portal", host: Host = LAPTOP, **more: Any) -> Session:
    endpoint = site.endpoint(host)
    proof = proof_of(principal, site.now, method=method, **more)
    assert site.state.accounts.directory is not None
    device = site.state.accounts.directory.device_at(endpoint.attachment.mac)
    return site.admin.start_session(endpoint.attachment, proof, endpoint.address, device)


async def working(store: MemoryStore | None = None) -> tuple[Site, Session]:
    """Alice on her laptop, which has proved itself by certificate, with a flow of each kind."""
    site = await Site(policy=POLICY, store=store).start()
    await site.admin.use_directory(directory())
    start(site, WEB, host=WEB1)
    start(site, MACHINE, "certificate")
    session = start(site, ALICE)
    site.s1.send(4, LAPTOP.tcp(WEB1, 40000, 80))
    site.s1.send(4, LAPTOP.tcp(WEB1, 40001, 443))
    return site, session


def passes(site: Site, sport: int, port: int) -> bool:
    site.s1.take()
    site.s1.send(4, LAPTOP.tcp(WEB1, sport, port, ACK))
    return len(site.s1.take()) == 1


def last(site: Site, number: int) -> tuple[SessionEvent, str]:
    event, _, detail, _ = [one for one in site.records.of("session") if one[1].number == number][-1]
    return event, detail


def acting(site: Site, number: int) -> str | None:
    live = site.state.sessions.by_number.get(number)
    return f"{live.session.principal.kind} in {live.session.segment}" if live else None


# blocks


async def test_a_blocked_user_is_out_at_once_and_the_machine_goes_on() -> None:
    site, session = await working()
    assert site.admin.blocking.block("user:alice", "lost her badge", by="root") == [session.number]
    assert passes(site, 40000, 80)
    assert not passes(site, 40001, 443)
    assert acting(site, session.number) == "device in machines"
    assert last(site, session.number) == (SessionEvent.LEFT, "user:alice: blocked (lost her badge)")


@pytest.mark.parametrize("method", ["portal", "dot1x", "oidc", "certificate", "attestation", "mab"])
async def test_no_method_lets_a_blocked_account_in(method: Method) -> None:
    site, _ = await working()
    site.admin.blocking.block("user:alice", "")
    with pytest.raises(AccountRefusal, match="user:alice is blocked") as caught:
        start(site, ALICE, method)
    assert caught.value.reason == "blocked"
    assert site.admin.blocking.unblock("user:alice")
    assert not site.admin.blocking.unblock("user:alice")
    start(site, ALICE)


async def test_whoever_is_on_a_blocked_machine_is_out_with_it() -> None:
    site, session = await working()
    site.admin.blocking.block("device:alice-laptop", "stolen")
    assert acting(site, session.number) is None
    assert last(site, session.number) == (SessionEvent.BLOCKED, "stolen")
    with pytest.raises(AccountRefusal, match="device:alice-laptop"):
        start(site, ALICE)


async def test_a_mac_is_enough_to_keep_a_blocked_machine_out() -> None:
    site, _ = await working()
    site.admin.blocking.block("user:alice", "")
    bob = start(site, Principal("user", "bob", frozenset({"guests"})))
    site.admin.life.leave(site.state.sessions.by_number[bob.number], bob.proofs[1:], SessionEvent.DISCONNECTED)
    site.admin.blocking.block("device:alice-laptop", "stolen")
    assert acting(site, bob.number) is None, "it has proved nothing any more, and has that MAC"


async def test_a_block_outlives_the_controller_and_ends_in_its_time() -> None:
    store = MemoryStore()
    site, session = await working(store)
    site.admin.blocking.block("workload:web1", "", until=site.now + 100)
    store.saved[session.number] = session
    again = Site(policy=POLICY, store=store)
    await again.start()
    await again.admin.use_directory(directory())
    with pytest.raises(AccountRefusal):
        start(again, WEB, host=WEB1)
    again.now += 100
    again.admin.tick(again.now)
    start(again, WEB, host=WEB1)
    assert store.blocked == {}


async def test_a_session_of_an_account_blocked_meanwhile_is_not_taken_up_again() -> None:
    store = MemoryStore()
    _, session = await working(store)
    store.save_block(Block("user:alice", "", 0.0))
    again = await Site(policy=POLICY, store=store).start()
    assert session.number not in again.state.sessions.by_number
    assert last(again, session.number) == (SessionEvent.BLOCKED, "at start")


async def test_a_block_that_cannot_be_kept_is_in_force_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    site, session = await working()

    def full(_: Block) -> None:
        raise CapacityError("the disk is full")

    monkeypatch.setattr(site.store, "save_block", full)
    with pytest.raises(CapacityError):
        site.admin.blocking.block("user:alice", "")
    assert acting(site, session.number) == "device in machines"
    with pytest.raises(AccountRefusal):
        start(site, ALICE)


async def test_blocks_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "MAX_BLOCKS", 1)
    site, _ = await working()
    site.admin.blocking.block("user:alice", "")
    site.admin.blocking.block("user:alice", "again")
    with pytest.raises(CapacityError):
        site.admin.blocking.block("user:bob", "")


# identities.yaml


@pytest.mark.parametrize(
    ("user", "event", "left"),
    [
        (USER.replace("alice:", "al:"), SessionEvent.LEFT, "device in machines"),
        (USER.replace("{", "{disabled: true, "), SessionEvent.LEFT, "device in machines"),
        (USER.replace(HASHES[0], HASHES[2]), SessionEvent.LEFT, "device in machines"),
        (USER.replace("JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXQ"), SessionEvent.LEFT, "device in machines"),
        (USER.replace("staff", "guests"), SessionEvent.CHANGED, "user in guests"),
        (USER, SessionEvent.JOINED, "user in staff"),
    ],
    ids=["removed", "disabled", "password", "second factor", "groups", "nothing"],
)
async def test_another_version_of_the_file_is_in_force_at_once(user: str, event: SessionEvent, left: str) -> None:
    site, session = await working()
    await site.admin.use_directory(directory(user))
    assert last(site, session.number)[0] == event
    assert acting(site, session.number) == left
    assert passes(site, 40000, 80), "what the new state allows goes on"
    assert passes(site, 40001, 443) == (left == "user in staff")


async def test_who_proves_herself_by_the_new_file_while_sessions_are_held_against_it_stays() -> None:
    site = await Site(MANY_CARDS, POLICY).start()
    await site.admin.use_directory(directory())
    for number in range(SLICE):
        start(site, WEB, host=Host(9, f"02:00:00:00:01:{number:02x}", f"10.0.0.{100 + number}"))
    session = start(site, ALICE)
    changing = asyncio.create_task(site.admin.use_directory(directory(USER.replace(HASHES[0], HASHES[2]))))
    await asyncio.sleep(0)  # some have been looked at, and she has not
    site.now += 1
    assert start(site, ALICE).number == session.number
    await changing
    assert acting(site, session.number) == "user in staff"


async def test_a_clock_that_was_put_back_keeps_nobody_in_whose_password_is_another() -> None:
    site, session = await working()
    site.now -= 600
    await site.admin.use_directory(directory(USER.replace(HASHES[0], HASHES[2])))
    assert acting(site, session.number) == "device in machines"


def full(*_: Any) -> None:
    raise CapacityError("the disk is full")


async def test_sessions_that_were_not_held_against_a_file_are_so_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    site, session = await working()
    changed = directory(USER.replace(HASHES[0], HASHES[2]))
    with monkeypatch.context() as broken:
        broken.setattr(site.admin.life, "leave", full)
        with pytest.raises(CapacityError):
            await site.admin.use_directory(changed)
    assert acting(site, session.number) == "user in staff"
    await site.admin.use_directory(changed)
    assert acting(site, session.number) == "device in machines"


async def test_a_second_factor_that_was_not_used_may_change() -> None:
    site, _ = await working()
    session = start(site, ALICE, amr=("pwd",))
    await site.admin.use_directory(directory(USER.replace("JBSWY3DPEHPK3PXP", "JBSWY3DPEHPK3PXQ")))
    assert acting(site, session.number) == "user in staff"


@pytest.mark.parametrize(
    ("device", "event"),
    [
        ("", SessionEvent.DISABLED),
        (DEVICE.replace("{mac", "{disabled: true, mac"), SessionEvent.DISABLED),
        (DEVICE.replace("lab/alice-laptop", "lab/other"), SessionEvent.LEFT),
        (DEVICE.replace('"yes"', '"no"'), SessionEvent.CHANGED),
    ],
    ids=["removed", "disabled", "another certificate", "labels"],
)
async def test_machines_are_what_the_file_says_whoever_has_vouched_for_them(device: str, event: SessionEvent) -> None:
    site, session = await working()
    await site.admin.use_directory(directory(device=device))
    assert last(site, session.number)[0] == event


async def test_a_workload_with_another_secret_has_to_prove_itself_again() -> None:
    site, _ = await working()
    number = site.state.sessions.by_address[bytes([10, 0, 0, 11])].session.number
    await site.admin.use_directory(directory(workload=WORKLOAD.replace(HASHES[1], HASHES[2])))
    assert last(site, number) == (SessionEvent.CREDENTIAL_REVOKED, "workload:web1 has another credential")


async def test_who_proves_herself_elsewhere_needs_no_password_here_and_is_out_if_the_file_disables_her() -> None:
    site, _ = await working()
    session = start(site, ALICE, "oidc", issuer="https://id.example")
    await site.admin.use_directory(directory(USER.replace(HASHES[0], HASHES[2])))
    assert acting(site, session.number) == "user in staff"
    await site.admin.use_directory(directory(USER.replace("{", "{disabled: true, ")))
    assert acting(site, session.number) == "device in machines"


@pytest.mark.parametrize("method", ["dot1x", "oidc"])
async def test_what_the_file_adds_to_a_servers_word_changes_with_the_file(method: Method) -> None:
    site, _ = await working()
    session = start(site, ALICE, method, issuer="radius1", groups=frozenset({"staff", "wifi"}))
    await site.admin.use_directory(directory(USER.replace("staff", "guests")))
    (proof,) = (proof for proof in site.state.sessions.by_number[session.number].session.proofs if proof.kind == "user")
    assert proof.groups == {"guests", "wifi"}
    await site.admin.use_directory(directory(""))
    assert acting(site, session.number) == "device in machines", "she is in no segment by the server's word alone"


async def test_a_mac_that_only_the_server_knows_is_not_the_files_to_end() -> None:
    site = await Site(policy=POLICY).start()
    await site.admin.use_directory(directory())
    printer = Principal("device", "02-00-00-00-00-33", labels=(("managed", "yes"),))
    session = start(site, printer, "mab", aal=0, issuer="radius1")
    await site.admin.use_directory(directory(device=""))
    assert acting(site, session.number) == "device in machines"


async def test_a_disabled_account_can_have_no_session_by_any_method() -> None:
    site, _ = await working()
    await site.admin.use_directory(directory(USER.replace("{", "{disabled: true, ")))
    with pytest.raises(AccountRefusal, match="disabled") as caught:
        start(site, ALICE, "oidc", issuer="https://id.example")
    assert caught.value.reason == "disabled"
