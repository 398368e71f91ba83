"""A capture as a script for the lab: its packets in order, with times, other addresses and other cards. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from replay.assign import Assignment, Part
from replay.rewrite import rewritten
from zethane.audit.reason import DenyReason
from zethane.net.flowkey import ETH_IPV4, ETH_IPV6, FlowKey
from zethane.replay.link import is_read, unframe
from zethane.replay.packet import Aside, Read, is_group, read_packet
from zethane.replay.pcap import Record

MAX_LOOKED_AT = 1_000_000
"""Packets of a capture that are looked at."""
MTU = 1500
"""Octets of an IP packet that the lab's cables take."""


@dataclass(frozen=True, slots=True)
class Line:
    """One packet to send. `at` is when, in seconds from the first; `key` is as it is sent here, of its first fragment
    for a fragment."""

    number: int
    at: float
    source: str
    target: str
    frame: bytes
    key: FlowKey
    flags: int
    fragment: bool


@dataclass(slots=True)
class Script:
    """What is to be sent, and what of the capture is left out, by why: packets."""

    lines: list[Line] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    packets: int = 0


class Writer:
    """Writes a script, packet by packet.

    `card` is the MAC address (six bytes) that a host sends from, and that what goes to it has to go to. `limit` bounds
    the packets, `longest` the seconds of silence that are kept.
    """

    def __init__(
        self, assignment: Assignment, card: Callable[[str], bytes], *, limit: int, speed: float | None, longest: float
    ) -> None:
        self.script = Script()
        self._assignment = assignment
        self._card = card
        self._limit = limit
        self._speed = speed
        self._longest = longest
        self._taken: dict[FlowKey, FlowKey] = {}
        self._pieces: dict[tuple[bytes, bytes, int, int], FlowKey] = {}
        self._last: float | None = None
        self._now = 0.0

    def write(self, records: Iterable[Record]) -> Script:
        """The script of these packets."""
        for record in records:
            self.script.packets += 1
            if len(self.script.lines) >= self._limit or self.script.packets > MAX_LOOKED_AT:
                self._leave(f"more than {min(self._limit, MAX_LOOKED_AT)} packets")
                continue
            self._packet(record)
        return self.script

    def _leave(self, why: str) -> None:
        self.script.left_out[why] += 1

    def _packet(self, record: Record) -> None:
        data, begin, captured, length, moment, link = record
        end = begin + captured
        framed = unframe(link, data, begin, end) if is_read(link) else None
        if framed is None:
            self._leave("no link type that is read" if not is_read(link) else "captured too short")
            return
        read = read_packet(framed, data, end, length > captured)
        if isinstance(read, Aside):
            self._leave(f"{read.fate.value}: {read.reason}")
        elif framed.eth_type not in (ETH_IPV4, ETH_IPV6) or read.about is not None:
            self._leave("ICMP errors")
        elif read.hurdle not in (None, DenyReason.FRAGMENT):
            # In a live flow Open vSwitch cannot tell these from others: what comes of them is no matter of policy.
            self._leave(f"odd: {read.hurdle.value}")
        else:
            whole = data[framed.at : end] + bytes(length - captured)
            self._ip(read, whole, framed.eth_src, framed.eth_dst, moment)

    def _ip(self, read: Read, packet: bytes, eth_src: bytes, eth_dst: bytes, moment: float) -> None:
        src, dst = (packet[12:16], packet[16:20]) if packet[0] >> 4 == 4 else (packet[8:24], packet[24:40])
        if is_group(dst):
            self._leave("to groups")
            return
        sender, receiver = self._assignment.part(src, eth_src), self._assignment.part(dst, eth_dst)
        if sender is None or receiver is None:
            self._leave("between addresses that nobody plays")
        elif sender.host == receiver.host:
            self._leave("both ends are played by one host")
        elif self._assignment.is_outside(sender) and self._assignment.is_outside(receiver):
            self._leave("both ends are outside")
        else:
            self._line(read, packet, sender, receiver, moment)

    def _line(self, read: Read, packet: bytes, sender: Part, receiver: Part, moment: float) -> None:
        key = self._key(read)
        if key is None:
            self._leave("fragments without their first")
            return
        try:
            made = rewritten(packet, sender.address.packed, receiver.address.packed)
        except ValueError:
            self._leave("malformed")
            return
        if len(made) > MTU:
            self._leave(f"larger than {MTU} octets")
            return
        here = key._replace(src=sender.address.packed, dst=receiver.address.packed)
        if not self._is_free(key, here):
            self._leave("flows that fall together with another's addresses and ports")
            return
        kind = ETH_IPV4 if len(here.src) == 4 else ETH_IPV6
        frame = self._card(receiver.host) + self._card(sender.host) + kind.to_bytes(2, "big") + made
        fragment = read.hurdle is DenyReason.FRAGMENT
        number = len(self.script.lines)
        self.script.lines.append(
            Line(number, self._moment(moment), sender.host, receiver.host, frame, here, read.flags, fragment)
        )

    def _key(self, read: Read) -> FlowKey | None:
        """The flow of a packet; a later fragment's is that of its first."""
        piece = read.piece
        if piece is None:
            return read.key
        if read.key is not None:
            if len(self._pieces) >= self._limit:
                self._pieces.clear()
            self._pieces[piece.datagram] = read.key
        return self._pieces.get(piece.datagram)

    def _is_free(self, key: FlowKey, here: FlowKey) -> bool:
        """Whether no other flow of the capture looks like this one here: several addresses may have one player."""
        for captured, played in ((key, here), (key.reverse(), here.reverse())):
            if self._taken.setdefault(played, captured) != captured:
                return False
        return True

    def _moment(self, moment: float) -> float:
        """When to send what was captured at this moment: long silences are cut short, and nothing goes backwards."""
        gap = 0.0 if self._last is None else max(0.0, moment - self._last)
        self._last = moment
        if self._speed is not None:
            self._now += min(gap / self._speed, self._longest)
        return self._now
