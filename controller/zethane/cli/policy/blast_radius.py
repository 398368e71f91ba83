"""`zethane policy blast-radius`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from zethane.app.topology import Topology
from zethane.audit.record import rfc3339
from zethane.cli.ending import EXIT_DONE, EXIT_NO
from zethane.cli.policy.blast_text import print_radius, print_table
from zethane.cli.policy.given import (
    AtOption,
    JsonOption,
    TopologyArgument,
    find_policy,
    find_service,
    find_topology,
    moment_or_now,
    problems_exit,
)
from zethane.cli.policy.output import write
from zethane.cli.policy.text import print_json
from zethane.document import closest, quote
from zethane.errors import InputError, Problem
from zethane.policy.blast_radius import BlastRadius, blast_radius, compare, every_segment
from zethane.policy.reach import Ground
from zethane.policy.score import CRITICAL
from zethane.render.radius_svg import radius_svg, scores_svg

KINDS = ("host", "segment", "network")


def blast_radius_command(
    topology: TopologyArgument,
    start: Annotated[
        str | None,
        typer.Argument(
            metavar="[HOST|SEGMENT]",
            help="Where the intruder is: a host, a segment, or a network that a rule names; host:NAME and segment:NAME "
            "where two have one name. Without: a table of all.",
        ),
    ] = None,
    against: Annotated[str | None, typer.Option(metavar="NEW", help="Another policy: what would change.")] = None,
    critical: Annotated[
        list[str] | None, typer.Option(metavar="LABEL=VALUE", help="What is critical; may be given again.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(metavar="SERVICE", help="A service by which nobody gets on, such as icmp; may be given again."),
    ] = None,
    at: AtOption = None,
    fail_over: Annotated[
        float | None, typer.Option(metavar="SCORE", min=0, max=100, help="Exit with 1 if a score is higher.")
    ] = None,
    fail_on_critical: Annotated[
        bool, typer.Option("--fail-on-critical", help="Exit with 1 if something critical can be reached.")
    ] = False,
    svg: Annotated[str | None, typer.Option("--svg", metavar="FILE|-", help="Write a picture.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an intruder at a host or in a segment reaches, hop by hop, and how much that puts at risk."""
    with problems_exit(as_json):
        found = find_topology(topology)
        now = moment_or_now(at)
        labels = [_label(text) for text in critical or ()] or list(CRITICAL)
        ignored = frozenset(service for text in without or () for service in find_service(found, text, "--without"))
        ground = Ground(found.policy, found.parties(now), now, ignored)
        new = Ground(find_policy(against), found.parties(now), now, ignored) if against else None
        if start is None:
            before = every_segment(ground, labels)
            after = every_segment(new, labels) if new else None
        else:
            before = (_at(found, ground, start, labels),)
            after = (_after(new, before[0], labels),) if new else None
        if svg is not None:
            write(svg, _picture(before, after, one=start is not None))
    if svg != "-":
        _print(before, after, now, one=start is not None, as_json=as_json)
    judged = before if after is None else after
    bad = fail_over is not None and any(one.score > fail_over for one in judged)
    bad = bad or (fail_on_critical and any(one.reaches_critical for one in judged))
    raise typer.Exit(EXIT_NO if bad else EXIT_DONE)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals or not value:
        raise InputError([Problem("--critical", f"expected LABEL=VALUE, found {quote(text)}")])
    return key, value


def _at(topology: Topology, ground: Ground, start: str, labels: Sequence[tuple[str, str]]) -> BlastRadius:
    kind, colon, name = start.partition(":")
    wanted, of_kind = (name, kind) if colon and kind in KINDS else (start, None)
    try:
        return blast_radius(ground, wanted, of_kind, labels)
    except KeyError:
        known = (*topology.hosts, *topology.external_hosts, *map(str, ground.places))
        message = f"no host, segment or network of the policy is named {quote(wanted)}{closest(wanted, known)}"
        raise InputError([Problem(str(topology.folder), message)]) from None


def _after(new: Ground, before: BlastRadius, labels: Sequence[tuple[str, str]]) -> BlastRadius:
    """The same start with the other policy; one that is not there any more reaches nothing."""
    kind = "host" if before.host else "network" if before.outside else "segment"
    try:
        return blast_radius(new, before.start, kind, labels)
    except KeyError:
        return BlastRadius(before.start, before.host, (), False, 0.0, 0.0, (), ())


def _picture(before: Sequence[BlastRadius], after: Sequence[BlastRadius] | None, *, one: bool) -> str:
    if one:
        return radius_svg(before[0]) if after is None else radius_svg(after[0], before[0])
    return scores_svg(before) if after is None else scores_svg(after, before)


def _print(
    before: Sequence[BlastRadius], after: Sequence[BlastRadius] | None, now: float, *, one: bool, as_json: bool
) -> None:
    if as_json:
        print_json({"at": rfc3339(now), **_view(before, after, one)})
    elif one:
        print_radius(before[0], after[0] if after else None)
    else:
        print_table(before, after)


def _view(before: Sequence[BlastRadius], after: Sequence[BlastRadius] | None, one: bool) -> Mapping[str, Any]:
    if one and after is None:
        return before[0].view()
    if one and after is not None:
        changes = [change.view() for change in compare(before[0], after[0])]
        return {"before": before[0].view(), "after": after[0].view(), "changes": changes}
    if after is None:
        return {"places": [place.summary() for place in before]}
    return {"before": [place.summary() for place in before], "after": [place.summary() for place in after]}
