"""The judges: what they see, and what they must not overlook."""

from __future__ import annotations

import struct

from attack.capture import SOL_PACKET, with_tag
from attack.evidence import Evidence, Mark, arrivals, everything, logged, observations, unsent

TOKEN, OTHER = b"\x01marked!", b"\x02marked!"
MARKS = {"one": Mark(TOKEN, "ghost"), "two": Mark(OTHER, "ghost")}


def test_a_marked_frame_at_another_host_has_got_through() -> None:
    evidence = Evidence(MARKS, received={"web1": [b"head" + TOKEN, b"noise", TOKEN], "db1": [b"x" + TOKEN]})
    assert arrivals(evidence) == {"one": "2 frames at web1, 1 frame at db1", "two": ""}


def test_what_comes_back_to_its_sender_has_not() -> None:
    evidence = Evidence(MARKS, received={"ghost": [TOKEN, OTHER], "web1": [b"noise"]})
    assert arrivals(evidence) == {"one": "", "two": ""}


def test_a_frame_that_another_host_sends_back_does_not_excuse_its_arrival() -> None:
    evidence = Evidence(MARKS, received={"web1": [OTHER]}, sent={"web1": [OTHER], "ghost": [OTHER]})
    assert arrivals(evidence)["two"] == "1 frame at web1"


def test_observations_are_judged_by_their_text() -> None:
    evidence = Evidence(MARKS, received={"web1": [TOKEN]}, observed={"login": "session 7", "logout": ""})
    assert observations(evidence) == {"login": "session 7", "logout": ""}
    assert everything(evidence) == {"one": "1 frame at web1", "two": "", "login": "session 7", "logout": ""}


def test_a_variant_that_never_reached_the_switch_is_told() -> None:
    evidence = Evidence(MARKS, sent={"ghost": [b"." + TOKEN], "web1": [OTHER]})
    assert unsent(evidence) == ["two"]


def test_what_the_controller_logged_is_counted_without_what_it_allowed() -> None:
    deny = {"event": "decision", "decision": "deny", "reason": "no-rule"}
    records = [deny, deny, {"event": "decision", "decision": "allow", "reason": "rule"}]
    records += [{"event": "suppressed", "packets": 40}, {"event": "session", "reason": "login-refused"}]
    counters = {"neighbour_ignored": 2.0, "neighbour_answered": 0.0, "flows": 5.0}
    told = logged(Evidence(records=records, counters=counters))
    assert told == "left out of the log x40, no-rule x2, session login-refused x1, neighbour ignored +2"


def test_a_tag_that_the_kernel_took_out_is_put_back() -> None:
    frame = bytes(12) + b"\x08\x00payload"
    status_valid, tpid_valid = 0x10, 0x40
    data = struct.pack("=IIIHHHH", status_valid | tpid_valid, 60, 60, 0, 14, 0x2064, 0x88A8)
    ancillary = [(SOL_PACKET, 8, data)]
    assert with_tag(frame, ancillary) == bytes(12) + b"\x88\xa8\x20\x64\x08\x00payload"
    assert with_tag(frame, [(SOL_PACKET, 8, struct.pack("=IIIHHHH", 1, 60, 60, 0, 14, 0, 0))]) == frame
    assert with_tag(frame, []) == frame
