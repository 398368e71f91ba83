"""What has to come of packets, and what differs from it."""

from __future__ import annotations

import pytest

from replay.compare import FlowResult, compared
from replay.counted import Counted
from replay.outlook import Outlook, Outlooks
from replay.script import Line
from zethane.net.flowkey import FlowKey
from zethane.replay.verdict import Verdict

A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
S, SA, ACK, F, R = 0x02, 0x12, 0x10, 0x11, 0x04
THERE, BACK = FlowKey(A, B, 6, 4000, 80), FlowKey(B, A, 6, 80, 4000)
ASKED, ANSWERED = FlowKey(A, B, 17, 4000, 53), FlowKey(B, A, 17, 53, 4000)
PING, PONG = FlowKey(A, B, 1, 8, 0), FlowKey(B, A, 1, 0, 8)

ALLOW = Verdict("allow", "web", "", "")
DENY = Verdict("deny", None, "no-rule", "")


def line(key: FlowKey, flags: int = 0, *, fragment: bool = False) -> Line:
    return Line(0, 0.0, "a" if key.src == A else "b", "b" if key.src == A else "a", b"", key, flags, fragment)


def judged(key: FlowKey) -> Verdict:
    """Whatever a opens to b may pass, and nothing that b opens."""
    return ALLOW if key.src == A else DENY


def play(*packets: Line, gap: float = 0.1) -> tuple[list[bool | None], Outlook]:
    outlooks = Outlooks(judged)
    told = [outlooks.send(packet, number * gap) for number, packet in enumerate(packets)]
    (flow,) = outlooks.all()
    return told, flow


@pytest.mark.parametrize(
    ("packets", "expected"),
    [
        ([line(THERE, S), line(BACK, SA), line(THERE, ACK), line(BACK, ACK)], [True] * 4),
        ([line(THERE, ACK), line(BACK, ACK)], [False, False]),
        ([line(THERE, ACK), line(THERE, S), line(BACK, SA)], [False, True, True]),
        ([line(BACK, S), line(THERE, SA)], [False, False]),
        ([line(BACK, SA), line(THERE, S), line(BACK, SA)], [False, True, True]),
        ([line(THERE, S), line(BACK, S)], [True, False]),
        ([line(THERE, S | F), line(THERE, S | R)], [False, False]),
        ([line(THERE, S), line(THERE, S, fragment=True), line(THERE, ACK)], [True, False, True]),
        ([line(ASKED), line(ANSWERED), line(ASKED)], [True] * 3),
        ([line(ANSWERED), line(ASKED), line(ANSWERED)], [False, True, True]),
        ([line(PING), line(PONG)], [True, True]),
        ([line(PONG), line(PING)], [False, True]),
        ([line(THERE, S), line(THERE, F), line(BACK, F), line(THERE, ACK)], [True] * 4),
    ],
)
def test_only_what_opens_a_flow_lets_the_others_in(packets: list[Line], expected: list[bool]) -> None:
    assert play(*packets)[0] == expected


def test_long_silence_and_what_is_over_leave_open_what_comes() -> None:
    assert play(line(ASKED), line(ANSWERED), gap=40.0)[0] == [True, None]
    assert play(line(THERE, S), line(THERE, R), line(BACK, ACK), gap=4.5)[0] == [True, True, None]
    assert play(line(THERE, S), line(THERE, R), line(THERE, S), line(BACK, SA), gap=4.5)[0] == [True] * 3 + [None]
    _, flow = play(line(ASKED), line(ANSWERED), gap=40.0)
    assert (flow.back.least, flow.back.most) == (0, 1)


def test_a_flow_is_told_from_its_openers_side() -> None:
    _, flow = play(line(BACK, SA), line(THERE, S), line(BACK, SA))
    assert (flow.key, flow.source, flow.target, flow.opened) == (THERE, "a", "b", True)
    assert (flow.there.sent, flow.back.sent, flow.back.most) == (1, 2, 1)
    assert flow.text == "allow web"
    assert play(line(THERE, ACK))[1].text == "deny no-flow"
    assert play(line(BACK, S))[1].text == "deny no-rule"


def result(flow: Outlook, arrived: tuple[int, int], counted: Counted | None, **more: object) -> FlowResult:
    return compared(flow, arrived, {}, counted, (), **more)  # type: ignore[arg-type]


def test_what_agrees_differs_in_nothing() -> None:
    _, flow = play(line(THERE, S), line(BACK, SA))
    assert result(flow, (1, 1), Counted(1, 1, 1, ("web",))).differs == ()
    _, flow = play(line(BACK, S))
    assert result(flow, (0, 0), None).differs == ()


@pytest.mark.parametrize(
    ("arrived", "counted", "expected"),
    [
        (
            (0, 1),
            Counted(1, 1, 1, ("web",)),
            ["there: of 1 packets 1 had to arrive, 0 did", "there: the switches counted 1 packets, 0 arrived"],
        ),
        ((2, 1), Counted(2, 1, 1, ("web",)), ["there: of 1 packets 1 had to arrive, 2 did"]),
        ((1, 1), Counted(1, 3, 1, ("web",)), ["back: the switches counted 3 packets, 1 arrived"]),
        ((1, 1), Counted(1, 1, 1, ("other",)), ["decided by rule web, let through by other"]),
        ((1, 1), None, ["the switches have counted nothing: no record of the flow's end"]),
    ],
)
def test_each_that_does_not_fit_is_told(arrived: tuple[int, int], counted: Counted | None, expected: list[str]) -> None:
    _, flow = play(line(THERE, S), line(BACK, SA))
    found = result(flow, arrived, counted).differs
    assert found == tuple(expected)


def test_what_was_denied_may_not_be_known_or_stray() -> None:
    _, flow = play(line(BACK, S))
    assert result(flow, (0, 0), None, is_known=True).differs == ("the controller has let it through",)
    assert compared(flow, (0, 0), {"ghost": 2}, None, ()).differs == (
        "2 packets reached ghost, which has no part in it",
    )
