"""Changes, requests and meters as OpenFlow 1.3 messages, written by os-ken's codecs.

os-ken asks for an object with `ofproto`, `ofproto_parser` and `set_xid`; no event loop or thread comes with it.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Sequence
from typing import Any

from os_ken.ofproto import ofproto_protocol
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from zethane.adapters.openflow import tracking
from zethane.adapters.openflow.flow_mods import HEADER, FlowMods
from zethane.net.mac import format_mac
from zethane.pipeline.change import Add, Change, Remove, RemoveMatching, RemoveRaw
from zethane.pipeline.flow import (
    Action,
    Commit,
    FieldMatch,
    FinTimeout,
    Flow,
    ForgetPort,
    Match,
    Output,
    OutputRegister,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    ToController,
    Track,
)
from zethane.pipeline.tables import FIELD_BITS, PipelineError

VERSION = 4
_ETH_VLAN = 0x8100
_BUNDLE_FLAGS = 3
"""Atomic and ordered (ONF EXT-230 §4)."""
_FRAG_NX_MATCH = 3
"""OFPC_FRAG_NX_MATCH."""

_DATAPATH = ofproto_protocol.ProtocolDesc(version=VERSION)


def _finish(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


def _text(name: str, value: int) -> int | str:
    """os-ken wants addresses as text."""
    if name in ("eth_dst", "eth_src"):
        return format_mac(value)
    if name.startswith("ipv4_"):
        return str(ipaddress.IPv4Address(value))
    if name.startswith("ipv6_"):
        return str(ipaddress.IPv6Address(value))
    return value


def _match(wanted: Match) -> Any:
    fields = {}
    for name, value, mask in wanted:
        exact = mask == (1 << FIELD_BITS[name]) - 1
        fields[name] = _text(name, value) if exact else (_text(name, value), _text(name, mask))
    ordered = parser.OFPMatch(**fields).items()
    # os-ken sorts by number, which puts Nicira's own field before the EtherType that it needs.
    return parser.OFPMatch(_ordered_fields=sorted(ordered, key=lambda item: item[0] == "ip_frag"))


class _Bytes(parser.OFPAction):  # type: ignore[misc]  # os-ken has no types
    """An action that is bytes already, as os-ken takes it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.len = len(data)

    def serialize(self, buf: bytearray, offset: int) -> None:
        """Append the action."""
        buf += bytes(max(0, offset + self.len - len(buf)))
        buf[offset : offset + self.len] = self._data


_ACTIONS: dict[type, Callable[[Any], Any]] = {
    Output: lambda action: parser.OFPActionOutput(action.port),
    OutputRegister: lambda action: parser.NXActionOutputReg(ofs_nbits=31, src=action.register, max_len=0),
    ToController: lambda action: parser.OFPActionOutput(ofp.OFPP_CONTROLLER, action.length),
    SetField: lambda action: parser.OFPActionSetField(**{action.name: _text(action.name, action.value)}),
    PushVlan: lambda _: parser.OFPActionPushVlan(_ETH_VLAN),
    PopVlan: lambda _: parser.OFPActionPopVlan(),
    Resubmit: lambda action: parser.NXActionResubmitTable(table_id=action.table),
    ForgetPort: lambda _: parser.OFPActionSetField(in_port_nxm=0),  # its 32 bits may not be set, these 16 may
    FinTimeout: lambda action: parser.NXActionFinTimeout(action.idle, action.hard),
    Track: lambda action: _Bytes(tracking.track(action)),
    Commit: lambda action: _Bytes(tracking.commit(action)),
}


def _action(action: Action) -> Any:
    return _ACTIONS[type(action)](action)


def _instructions(flow: Flow) -> list[Any]:
    found = []
    if flow.meter is not None:
        found.append(parser.OFPInstructionMeter(flow.meter))
    if flow.actions:
        actions = [_action(action) for action in flow.actions]
        found.append(parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions))
    if flow.metadata is not None:
        found.append(parser.OFPInstructionWriteMetadata(*flow.metadata))
    if flow.goto is not None:
        found.append(parser.OFPInstructionGotoTable(flow.goto))
    return found


def _change(change: Change) -> Any:
    if isinstance(change, Add):
        flow = change.flow
        return parser.OFPFlowMod(
            datapath=_DATAPATH,
            command=ofp.OFPFC_ADD,
            table_id=flow.table,
            priority=flow.priority,
            match=_match(flow.match),
            cookie=flow.cookie,
            instructions=_instructions(flow),
            idle_timeout=flow.idle_timeout,
            hard_timeout=flow.hard_timeout,
            flags=ofp.OFPFF_SEND_FLOW_REM if flow.notify_removed else 0,
            out_port=ofp.OFPP_ANY,
            out_group=ofp.OFPG_ANY,
            buffer_id=ofp.OFP_NO_BUFFER,
        )
    if isinstance(change, Remove):
        return _delete(ofp.OFPFC_DELETE_STRICT, change.table, change.match, priority=change.priority)
    if isinstance(change, RemoveMatching):
        kept = {"cookie": change.cookie, "cookie_mask": change.cookie_mask}
        return _delete(ofp.OFPFC_DELETE, change.table, change.match, **kept)
    raise PipelineError(f"no message for {change!r}")


def _delete(command: int, table: int, wanted: Match, **fields: int) -> Any:
    return parser.OFPFlowMod(
        datapath=_DATAPATH,
        command=command,
        table_id=table,
        match=_match(wanted),
        out_port=ofp.OFPP_ANY,
        out_group=ofp.OFPG_ANY,
        buffer_id=ofp.OFP_NO_BUFFER,
        **fields,
    )


_RAW_REMOVAL = struct.Struct("!BBHI QQBBHHHIIIHxx")
_BUNDLE_ADD = struct.Struct("!BBHIIII2xH")
_ONF_BUNDLE_ADD = (0x4F4E4600, 2301)


def _header(name: str, exact: bool) -> bytes:
    """The header of a field in a match: its class, number and length, and the number of an experimenter."""
    field: Match = (FieldMatch(name, 0, (1 << FIELD_BITS[name]) - 1 if exact else 1),)
    written = bytearray()
    _match(field).serialize(written, 0)
    length = int.from_bytes(written[2:4], "big")
    values = -(-FIELD_BITS[name] // 8) * (1 if exact else 2)
    return bytes(written[4 : length - values])


def _rank(name: str) -> tuple[int, int]:
    """Where a field comes in a match."""
    number, _, _ = ofp.oxm_from_user(name, _text(name, 0))
    return name == "ip_frag", number[0] if isinstance(number, tuple) else number


def _action_bytes(action: Action) -> bytes:
    written = bytearray()
    _action(action).serialize(written, 0)
    return bytes(written)


_flow_mods = FlowMods(_header, _rank, _action_bytes)


def flow_mod(change: Change, xid: int) -> bytes:
    """One change as a flow-mod."""
    if isinstance(change, RemoveRaw):
        return _raw_removal(change, xid)
    body = _flow_mods.body(change)
    return HEADER.pack(VERSION, ofp.OFPT_FLOW_MOD, HEADER.size + len(body), xid) + body


def reference_flow_mod(change: Change, xid: int) -> bytes:
    """The same as os-ken writes it: what the quicker way is held against."""
    return _finish(_change(change), xid)


def _raw_removal(change: RemoveRaw, xid: int) -> bytes:
    """A strict removal by a match that os-ken need not understand."""
    size = _RAW_REMOVAL.size + len(change.raw)
    head = _RAW_REMOVAL.pack(
        VERSION, ofp.OFPT_FLOW_MOD, size, xid,
        0, 0, change.table, ofp.OFPFC_DELETE_STRICT, 0, 0, change.priority,
        ofp.OFP_NO_BUFFER, ofp.OFPP_ANY, ofp.OFPG_ANY, 0,
    )  # fmt: skip  # in the order of the wire, a line per structure
    return head + change.raw


def bundle_control(bundle: int, kind: int, xid: int) -> bytes:
    """Open (0), commit (4) or discard (6) a bundle."""
    message = parser.ONFBundleCtrlMsg(_DATAPATH, bundle, kind, _BUNDLE_FLAGS, properties=[])
    return _finish(message, xid)


def bundle_add(bundle: int, change: Change, xid: int) -> bytes:
    """One change inside a bundle."""
    return bundle_member(bundle, flow_mod(change, 0)[HEADER.size :], xid)


def bundle_member(bundle: int, body: bytes, xid: int) -> bytes:
    """The same where what comes behind the flow-mod's header is known."""
    inner = HEADER.size + len(body)
    size = _BUNDLE_ADD.size + inner
    head = (VERSION, ofp.OFPT_EXPERIMENTER, size, xid, *_ONF_BUNDLE_ADD, bundle, _BUNDLE_FLAGS)
    return _BUNDLE_ADD.pack(*head) + HEADER.pack(VERSION, ofp.OFPT_FLOW_MOD, inner, xid) + body


class Bodies:
    """What comes behind the headers of flow-mods. The last changes are kept: they may go to several switches."""

    def __init__(self) -> None:
        self._changes: tuple[Change, ...] = ()
        self._bodies: list[bytes] = []

    def of(self, changes: Sequence[Change]) -> list[bytes]:
        """Those of some changes; known for the very tuple that was asked for before."""
        if changes is not self._changes:
            bodies = [flow_mod(change, 0)[HEADER.size :] for change in changes]
            if not isinstance(changes, tuple):
                return bodies
            self._changes, self._bodies = changes, bodies
        return self._bodies


bodies = Bodies()


def reference_bundle_add(bundle: int, change: Change, xid: int) -> bytes:
    """The same as os-ken writes it."""
    return _finish(parser.ONFBundleAddMsg(_DATAPATH, bundle, _BUNDLE_FLAGS, _change(change), properties=[]), xid)


def echo_request(xid: int) -> bytes:
    """Ask whether the switch is there."""
    return HEADER.pack(VERSION, ofp.OFPT_ECHO_REQUEST, HEADER.size, xid)


def echo_reply(body: bytes, xid: int) -> bytes:
    """Answer an echo request with what it brought."""
    return HEADER.pack(VERSION, ofp.OFPT_ECHO_REPLY, HEADER.size + len(body), xid) + body


def features_request(xid: int) -> bytes:
    """Ask for the datapath id."""
    return _finish(parser.OFPFeaturesRequest(_DATAPATH), xid)


def drop_fragments(xid: int) -> bytes:
    """The switch drops fragments before it looks at any table."""
    return _finish(parser.OFPSetConfig(_DATAPATH, ofp.OFPC_FRAG_DROP, ofp.OFPCML_NO_BUFFER), xid)


def match_fragments(xid: int) -> bytes:
    """Fragments go through the tables, where they can be matched and sampled (Open vSwitch, nicira-ext.h)."""
    return _finish(parser.OFPSetConfig(_DATAPATH, _FRAG_NX_MATCH, ofp.OFPCML_NO_BUFFER), xid)


def port_description_request(xid: int) -> bytes:
    """Ask for all ports."""
    return _finish(parser.OFPPortDescStatsRequest(_DATAPATH, 0), xid)


def flow_stats_request(table: int, xid: int, cookie: int = 0, mask: int = 0) -> bytes:
    """Ask for a table's entries whose cookies agree under the mask."""
    anywhere = ofp.OFPP_ANY, ofp.OFPG_ANY
    request = parser.OFPFlowStatsRequest(_DATAPATH, 0, table, *anywhere, cookie, mask, parser.OFPMatch())
    return _finish(request, xid)


def aggregate_request(table: int, metadata: int, mask: int, xid: int) -> bytes:
    """Ask for the sum of the counters of a table's entries whose metadata is this where the mask has ones."""
    wanted = parser.OFPMatch(metadata=(metadata, mask))
    request = parser.OFPAggregateStatsRequest(_DATAPATH, 0, table, ofp.OFPP_ANY, ofp.OFPG_ANY, 0, 0, wanted)
    return _finish(request, xid)


def cookies_request(table: int, cookie: int, mask: int, xid: int) -> bytes:
    """Ask for the sum of the counters of a table's entries whose cookies agree under the mask."""
    everything = parser.OFPMatch()
    request = parser.OFPAggregateStatsRequest(_DATAPATH, 0, table, ofp.OFPP_ANY, ofp.OFPG_ANY, cookie, mask, everything)
    return _finish(request, xid)


def meter_config_request(xid: int) -> bytes:
    """Ask for all meters."""
    return _finish(parser.OFPMeterConfigStatsRequest(_DATAPATH, 0, ofp.OFPM_ALL), xid)


def meter_stats_request(xid: int) -> bytes:
    """Ask for the counters of all meters."""
    return _finish(parser.OFPMeterStatsRequest(_DATAPATH, 0, ofp.OFPM_ALL), xid)


def meter_mod(command: int, meter: int, rate: int, burst: int, xid: int) -> bytes:
    """Add (0), modify (1) or delete (2) a meter of `rate` packets per second."""
    flags = ofp.OFPMF_PKTPS | ofp.OFPMF_BURST
    bands = [] if command == ofp.OFPMC_DELETE else [parser.OFPMeterBandDrop(rate, burst)]
    return _finish(parser.OFPMeterMod(_DATAPATH, command, flags, meter, bands), xid)


def barrier_request(xid: int) -> bytes:
    """Ask to be told when everything before this is done."""
    return _finish(parser.OFPBarrierRequest(_DATAPATH), xid)
