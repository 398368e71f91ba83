"""Targets: the lines of decision logs, which may come from any disk."""

from __future__ import annotations

from fakes.decision_log import START, WrittenLog
from fakes.site import ALICE, POLICY, WEB
from fuzz.target import Target
from zethane.audit.observed import Observer
from zethane.audit.reason import DenyReason
from zethane.policy.load import parse_policy
from zethane.policy.principal import DeviceFacts
from zethane.policy.seen import Seen, summarise
from zethane.policy.whatif import whatif

_POLICY = parse_policy(
    POLICY.replace("{mfa: true}", '{mfa: true, hours: "Mon-Sun 07:00-19:00 Europe/Berlin"}'), "policy.yaml"
)


def _written() -> WrittenLog:
    log = WrittenLog()
    session = log.login(ALICE, "10.0.0.21")
    log.login(WEB, "10.0.0.11")
    device = DeviceFacts("laptop", posture=(("disk", True),), measured=START, times=(("disk", START),))
    log.change(session, ALICE.__class__("user", "alice", device=device))
    log.outside("198.51.100.0/24", "198.51.100.7")
    log.end(log.flow("10.0.0.21", "10.0.0.11", "staff-web"), "staff-web", 1.0)
    log.flow("10.0.0.21", "198.51.100.7", "out")
    log.denial("10.0.0.21", "10.0.0.11", 22, DenyReason.DENY_RULE, "no-ssh")
    log.journal.suppressed("s1", 2, "log", "no-rule", 3, log.now)
    return log


_BEFORE = _written().lines


def _observed(data: bytes) -> None:
    """Each line is a record or is counted as damaged, and what is said of flows can be held against a policy."""
    lines = data.split(b"\n")
    observer = Observer({"user:alice": ALICE}.get)
    seen: list[Seen] = []
    for line in (*_BEFORE[:2], *lines):
        one = observer.line(line)
        if one is not None:
            seen.append(one)
            assert one.flows >= 0
            assert 0 <= one.first <= one.last
    account = observer.account
    assert account.lines == len(lines) + 2
    assert account.records + account.damaged.total() == account.lines
    whatif(_POLICY, seen).view()
    assert sum(one.flows for one in summarise(seen)) == sum(one.flows for one in seen)


TARGETS = (Target("decision-log", _observed, lambda: {f"line{n}": line for n, line in enumerate(_BEFORE)}, 4096),)
