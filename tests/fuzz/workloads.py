"""Targets: what an OVSDB server says, and what a client presents as its certificate."""

from __future__ import annotations

import json

from cryptography import x509

from fakes.pki import NOW, Ca
from fuzz.target import Target
from zethane.adapters.ovsdb.framing import OvsdbError, Splitter, parse
from zethane.adapters.ovsdb.tables import Tables
from zethane.identity.certificates import CertificateError, Trust, accept

MAX_MESSAGE = 4096

_ROOT = Ca("root")
_GOOD = _ROOT.issue("spiffe://example.org/web1")
_TRUST = Trust((_ROOT.made.certificate,), trust_domain="example.org")


def check_ovsdb(data: bytes) -> None:
    """A stream is refused, or cut into objects, whole and byte by byte alike; rows are taken or refused."""
    whole, single = _messages([data]), _messages([data[place : place + 1] for place in range(len(data))])
    assert whole == single
    tables = Tables()
    for message in whole:
        try:
            tables.apply(parse(message).get("result"))
        except OvsdbError:
            continue
        for interface in tables.interfaces():
            assert interface.dpid is None or 0 <= interface.dpid < 1 << 64
            assert interface.port is None or 0 < interface.port <= 0xFEFF
            assert 0 < interface.mac < 1 << 48
            assert interface.iface_id or interface.vm_uuid


def _messages(pieces: list[bytes]) -> list[bytes]:
    splitter, found = Splitter(MAX_MESSAGE), []
    try:
        for piece in pieces:
            found += splitter.feed(piece)
    except OvsdbError:
        return []
    return found


def seed_ovsdb() -> dict[str, bytes]:
    ids = [["iface-id", "port-1"], ["attached-mac", "02:00:00:00:00:11"], ["vm-uuid", "vm-1"]]
    rows = {
        "Bridge": {"b": {"new": {"name": "br", "datapath_id": "00000000000000a1", "ports": ["uuid", "p"]}}},
        "Port": {"p": {"new": {"interfaces": ["set", [["uuid", "i"]]]}}},
        "Interface": {"i": {"new": {"name": "tap1", "ofport": 5, "external_ids": ["map", ids]}}},
    }
    reply = json.dumps({"id": "monitor", "result": rows, "error": None}).encode()
    echo = b'{"method":"echo","params":["\\u007d\\\\"],"id":7}'
    return {"reply": reply, "echoes": echo + b"\n" + echo}


def check_certificate(data: bytes) -> None:
    """Nothing but what the authority has signed is accepted, whatever may be around it."""
    try:
        accepted = accept([data], _TRUST, NOW)
    except CertificateError:
        return
    assert x509.load_der_x509_certificate(data).tbs_certificate_bytes == _GOOD.certificate.tbs_certificate_bytes
    assert accepted.names == ("spiffe://example.org/web1",)


def seed_certificates() -> dict[str, bytes]:
    return {"good": _GOOD.der, "authority": _ROOT.made.der}


TARGETS = (
    Target("ovsdb", check_ovsdb, seed_ovsdb, MAX_MESSAGE),
    Target("certificate", check_certificate, seed_certificates, 2048),
)
