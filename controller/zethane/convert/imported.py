"""A policy and its identities, made of classes and rules, as text and as values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zethane.convert.loss import Ledger, Loss
from zethane.convert.naming import Names, plain, short
from zethane.convert.reach import OPEN, WHOLE_WORLD, Draft
from zethane.convert.yaml_text import comment, flow_list, flow_map, item, word
from zethane.document import some
from zethane.errors import InputError, Problem
from zethane.identity.directory import Directory, parse_identities
from zethane.net.prefix import Prefix
from zethane.policy.load import parse_policy
from zethane.policy.model import MAX_NETWORKS, MAX_RULES, MAX_SEGMENTS, Policy

SEGMENT_LABEL = "zethane/segment"
"""The label of a workload that says its class: by nothing else a segment selects."""

_MAX_LABELS = 32
_MAX_SERVICES = 256
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./: -]{0,62}")


@dataclass(frozen=True, slots=True)
class Member:
    """One workload: what it is called in the original and here, and its labels there."""

    original: str
    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """One class of workloads: the words that its segment is called after, and who is in it."""

    word: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made.

    `workloads` says what each workload of the original is called here, `losses` what the policy does not say, `notes`
    what its reader has to know. Both files are texts that load, and have been loaded.
    """

    policy_text: str
    identities_text: str
    policy: Policy
    directory: Directory
    workloads: Mapping[str, str]
    losses: tuple[Loss, ...]
    notes: tuple[str, ...]

    @property
    def opens(self) -> bool:
        """Whether the policy may allow what the original denies."""
        return any(loss.opens for loss in self.losses)

    def view(self) -> Mapping[str, Any]:
        """JSON-ready."""
        return {
            "policy": self.policy_text,
            "identities": self.identities_text,
            "segments": len(self.policy.segments),
            "rules": len(self.policy.rules),
            "workloads": dict(self.workloads),
            "opens": self.opens,
            "losses": [loss.view() for loss in self.losses],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Source:
    """Where an import comes from: the system, and the files. `audit`: the policy is to be of the stage audit."""

    system: str
    files: str
    audit: bool = False

    @property
    def title(self) -> str:
        """The first line of both files."""
        return f"From {self.system}: {self.files}"


def assemble(
    source: Source, groups: Sequence[Group], drafts: Sequence[Draft], origins: Mapping[str, str], ledger: Ledger
) -> Imported:
    """The files of these classes and rules. `origins` says what the origins of rules are, in words.

    Raises InputError where there are too many of something for one policy.
    """
    names = Names(["any"])
    segments = [names.give(group.word) for group in groups]
    kept = list(_within_networks(drafts, ledger))
    rules = list(_rules(kept, segments, origins))
    _bounded(source.files, len(rules), MAX_RULES, "rules")
    identities = _identities_text(source.title, groups, segments, ledger)
    policy_text = _policy_text(source, segments, groups, rules, ledger)
    return Imported(
        policy_text,
        identities,
        parse_policy(policy_text, "policy.yaml"),
        parse_identities(identities, "identities.yaml"),
        {member.original: member.name for group in groups for member in group.members},
        ledger.all_losses(),
        tuple(ledger.notes),
    )


def check_classes(source: Source, number: int) -> None:
    """Refuse more classes than a policy has segments, before anything is worked out for their pairs.

    Raises InputError.
    """
    _bounded(source.files, number, MAX_SEGMENTS, "segments")


def _bounded(files: str, number: int, most: int, what: str) -> None:
    if number > most:
        raise InputError([Problem(files, f"would take {number} {what}; expected at most {most}: import it in parts")])
    if number == 0 and what == "segments":
        raise InputError(
            [Problem(files, "expected workloads, found none: rules alone do not say between whom they are")]
        )


def _within_networks(drafts: Sequence[Draft], ledger: Ledger) -> Iterator[Draft]:
    """The rules as long as they name no more networks than one policy may."""
    named: set[Prefix] = set()
    for draft in drafts:
        more = named.union(draft.source_networks, draft.target_networks)
        if len(more) > MAX_NETWORKS:
            ledger.lose(f"{draft.word}: more than {MAX_NETWORKS} different networks in all: these are closed")
        else:
            named = more
            yield draft


def _rules(drafts: Sequence[Draft], segments: Sequence[str], origins: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each rule's reason and its text."""
    names = Names()
    for draft in drafts:
        why = _because(draft, origins)
        for start in range(0, len(draft.services), _MAX_SERVICES):
            pairs = {
                "id": word(names.give(short(plain(draft.word), 57))),
                "from": _end(draft.sources, draft.source_networks, segments),
                "to": _end(draft.targets, draft.target_networks, segments),
                "services": flow_list(map(str, draft.services[start : start + _MAX_SERVICES])),
            }
            if draft.family:
                # Both ends of a flow have addresses of one family: the subject's says which.
                networks = flow_list(str(one) for one in WHOLE_WORLD if one.version == draft.family)
                pairs["when"] = flow_map({"subject": flow_map({"networks": networks})})
            yield why, item(pairs, "  ")


def _end(classes: Sequence[int], networks: Sequence[Prefix], segments: Sequence[str]) -> str:
    if networks:
        return flow_map({"networks": flow_list(map(str, networks))})
    return flow_list(segments[number] for number in classes)


def _because(draft: Draft, origins: Mapping[str, str]) -> str:
    if draft.egress == draft.ingress != OPEN:
        return f"egress and ingress of {origins.get(draft.egress, draft.egress)}"
    parts = [
        f"{side} of {origins.get(origin, origin)}"
        for side, origin in (("egress", draft.egress), ("ingress", draft.ingress))
        if origin
    ]
    return " and ".join(parts) or "nothing is said of either end"


def _policy_text(
    source: Source, segments: Sequence[str], groups: Sequence[Group], rules: Sequence[tuple[str, str]], ledger: Ledger
) -> str:
    lines = [comment(source.title)]
    losses = ledger.all_losses()
    if losses:
        lines.extend(["#", "# Not expressed:"])
        lines.extend(comment(str(loss), first="- ") for loss in losses)
    if ledger.notes:
        lines.extend(["#", "# To know:"])
        lines.extend(comment(note, first="- ") for note in ledger.notes)
    lines.extend(["version: 1", *(["stage: audit"] if source.audit else []), "", "segments:"])
    for name, group in zip(segments, groups, strict=True):
        lines.append(comment(_members_text(group), "  "))
        lines.append(f"  {word(name)}: {flow_map({'labels': flow_map({SEGMENT_LABEL: word(name)})})}")
    lines.extend(["", "rules:" if rules else "rules: []"])
    before = ""
    for why, text in rules:
        if why != before:
            lines.append(comment(why, "  "))
        lines.append(text)
        before = why
    return "\n".join(lines) + "\n"


_MAX_SHOWN = 8


def _members_text(group: Group) -> str:
    return some([member.original for member in group.members], _MAX_SHOWN)


def _identities_text(title: str, groups: Sequence[Group], segments: Sequence[str], ledger: Ledger) -> str:
    lines = [
        comment(title),
        comment(
            f"The label {SEGMENT_LABEL} puts a workload into its segment: whoever adds one gives it that of its like."
        ),
        comment(
            "Nobody can log in yet, for no secret is invented: give each a secret (zethane identity hash), spiffe or "
            "dns for a certificate, or attested for the platform's word."
        ),
        "workloads:",
    ]
    for segment, group in zip(segments, groups, strict=True):
        for member in group.members:
            labels = {SEGMENT_LABEL: word(segment), **_labels(member, ledger)}
            lines.append(f"  {word(member.name)}: {flow_map({'labels': flow_map(labels)})}")
    return "\n".join(lines) + "\n"


def _labels(member: Member, ledger: Ledger) -> dict[str, str]:
    """Those labels of the original that identities may have; no verdict rests on them."""
    fitting = {
        key: word(value)
        for key, value in sorted(member.labels.items())
        if _KEY.fullmatch(key) and _VALUE.fullmatch(value) and key != SEGMENT_LABEL
    }
    kept = dict(list(fitting.items())[: _MAX_LABELS - 1])
    left = sorted(set(member.labels) - set(kept))
    if left:
        ledger.note(f"labels that identities cannot have are left out, and no verdict rests on them: {', '.join(left)}")
    return kept
