"""Who plays which part."""

from __future__ import annotations

from pathlib import Path

import pytest

from attack.cast import Permit, choose
from attack.scenario import NotHereError
from zethane.app.topology import load_topology

TOPOLOGIES = Path(__file__).resolve().parents[3] / "topologies"


@pytest.mark.parametrize("name", sorted(folder.name for folder in TOPOLOGIES.iterdir() if folder.is_dir()))
def test_the_parts_fit_the_policy(name: str) -> None:
    topology = load_topology(TOPOLOGIES / name)
    cast = choose(topology)
    assert topology.hosts[cast.stranger].login is None
    assert cast.service in cast.permits
    parts = [cast.client, cast.server, cast.insider, cast.stranger]
    assert [name for name in (*parts, cast.victim) if topology.hosts[name].vlan] == []
    assert len(set(parts)) == len(parts)
    assert cast.victim not in (cast.insider, cast.stranger)
    pairs = {(permit.source, permit.target) for permit in cast.permits}
    assert (cast.insider, cast.victim) not in pairs
    assert any(source == cast.insider for source, _ in pairs)
    assert cast.denied(cast.stranger, cast.server, cast.service.proto, cast.service.port)


def test_a_permit_is_found_by_protocol_and_source() -> None:
    cast = choose(load_topology(TOPOLOGIES / "three-tier"))
    assert cast.permit("udp", source="db1") == Permit("db1", "app1", "udp", 53)
    with pytest.raises(NotHereError, match="sctp"):
        cast.permit("sctp")
