"""A topology as it is with grants: every allow rule that a switch can enforce by itself says so.

Decisions are the same; who makes them is not. The folder is a copy, so that the controller reads the policy from a file
as it always does.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import yaml

from zethane.app.topology import POLICY_FILE, Topology, load_topology
from zethane.policy.load import parse_policy

Enforce = Literal["flow", "switch"]
"""Who lets flows in where a rule may leave it to either: the controller, as policies are written, or the switch."""

ENFORCE_HELP = "switch: make a grant of every rule that can be one."


@contextmanager
def enforced_by(topology: Topology, enforce: Enforce) -> Iterator[Topology]:
    """The topology itself, or a copy of it with grants, which is gone afterwards. Raises InputError."""
    if enforce == "flow":
        yield topology
        return
    with TemporaryDirectory(prefix="zethane-grants-") as place:
        copy = Path(place) / topology.folder.name
        shutil.copytree(topology.folder, copy)
        file = copy / POLICY_FILE
        file.write_text(with_grants(file.read_text(encoding="utf-8")), encoding="utf-8")
        yield load_topology(copy)


def with_grants(policy: str) -> str:
    """The text of a policy with grants wherever there may be some. Raises InputError."""
    may_be = {rule.id for rule in parse_policy(policy, POLICY_FILE).rules if rule.allow and rule.expression is None}
    whole = yaml.compose(policy, yaml.SafeLoader)
    assert whole is not None  # noqa: S101 - it has just been read as a policy
    rules = next(value for key, value in whole.value if key.value == "rules")
    for rule in reversed(rules.value):
        said = {key.value: value.value for key, value in rule.value}
        if said["id"] in may_be and "enforce" not in said:
            # Written into the text, which may have values that would read differently if they were written anew.
            at = rule.start_mark.index + bool(rule.flow_style)
            rest = ", " if rule.flow_style else "\n" + " " * rule.start_mark.column
            policy = f"{policy[:at]}enforce: switch{rest}{policy[at:]}"
    return policy
