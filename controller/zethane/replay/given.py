"""What a replay is given besides the capture: who has which addresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zethane.app.files import read_text
from zethane.app.topology import Topology
from zethane.policy.model import Policy
from zethane.replay.attribution import Attribution, Told, leads_outside, told_by
from zethane.replay.mapping import parse_assumptions, parse_map
from zethane.replay.naming import Names


def attribution_of(
    topology: Topology, policy: Policy | None = None, map_file: Path | None = None, assume: Sequence[str] = ()
) -> Attribution:
    """Who has an address: by the mapping file, then by the topology, then by what is assumed. Raises InputError.

    `policy` is one in the place of the topology's own.
    """
    policy = policy or topology.policy
    names = Names(topology, policy)
    mapped = parse_map(read_text(map_file), str(map_file), names) if map_file is not None else Told()
    assumed, otherwise = parse_assumptions(assume, names)
    return Attribution(policy, (mapped, told_by(topology), assumed), otherwise, leads_outside(topology))
