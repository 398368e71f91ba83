"""OpenStack's security groups as a policy, and the servers that are in them as workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zethane.convert.budget import Budget
from zethane.convert.imported import Group, Imported, Source, assemble, check_classes
from zethane.convert.imported import Member as Workload
from zethane.convert.loss import Ledger
from zethane.convert.naming import Names
from zethane.convert.openstack.cloud import Cloud, Member
from zethane.convert.openstack.meaning import Meaning
from zethane.convert.openstack.read import Reader
from zethane.convert.reach import rules

__all__ = ["import_openstack"]


def import_openstack(texts: Mapping[str, str], audit: bool = False) -> Imported:
    """The security groups in the texts, by the names of their files, as a policy with identities.

    `audit` makes the policy one of the stage audit.

    Raises InputError for what is no list of python-openstackclient, and for more than one policy can hold.
    """
    ledger = Ledger()
    source = Source("OpenStack", ", ".join(texts), audit)
    cloud = Reader(ledger).read(texts)
    if not cloud.members:
        _one_for_each_group(cloud, ledger)
    meaning = Meaning(cloud, ledger, Budget(source.files))
    classes = _classes(cloud, meaning)
    check_classes(source, len(classes))
    _remark(cloud, ledger)
    egress, ingress = meaning.sides(classes)
    groups = {row.group for row, _ in cloud.rules} | set(cloud.names)
    origins = {cloud.origin(group): f"security group {cloud.origin(group)}" for group in sorted(groups)}
    return assemble(source, _groups(cloud, classes), rules(egress, ingress), origins, ledger)


def _one_for_each_group(cloud: Cloud, ledger: Ledger) -> None:
    """Without servers, a class for each group: who is in several of them is not known."""
    groups = dict.fromkeys([*cloud.names, *(row.group for row, _ in cloud.rules)])
    if not groups:
        return
    for group in groups:
        cloud.members.append(Member(f"group {group}", cloud.origin(group), frozenset({group}), (), None))
    ledger.lose(
        "no servers or ports are given: each group has a segment and one workload, what is in several groups has none"
    )


def _classes(cloud: Cloud, meaning: Meaning) -> list[list[Member]]:
    alike: dict[object, list[Member]] = {}
    apart = meaning.apart
    for member in cloud.members:
        alike.setdefault(apart(member), []).append(member)
    return list(alike.values())


def _remark(cloud: Cloud, ledger: Ledger) -> None:
    with_rules = {row.group for row, _ in cloud.rules}
    for group in sorted({group for member in cloud.members for group in member.groups} - with_rules):
        ledger.note(f"no rule of security group {cloud.origin(group)} is given: it allows nothing")
    for member in cloud.members:
        if not member.groups:
            ledger.lose(
                f"{member.original} is in no group: closed; where its port security is off it was open", member.place
            )
    ledger.note("DHCP and the metadata service pass in OpenStack whatever a group says: here they are infrastructure")


def _groups(cloud: Cloud, classes: Sequence[Sequence[Member]]) -> list[Group]:
    names = Names()
    found = []
    for members in classes:
        word = "-and-".join(sorted(cloud.origin(group) for group in members[0].groups)) or "no-group"
        workloads = tuple(Workload(member.original, names.give(member.name), {}) for member in members)
        found.append(Group(word, workloads))
    return found
