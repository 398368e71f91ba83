"""What `policy diff` says."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from zethane.policy.diff import diff
from zethane.policy.difference import Difference, example_text
from zethane.policy.load import parse_policy

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc).timestamp()

SEGMENTS = """\
version: 1
segments:
  web: {labels: {tier: web}}
  db: {labels: {tier: db}}
  staff: {groups: [staff, ops]}
services: {https: [tcp/443]}
rules:
"""
NONE = "  []\n"
HTTPS = "- {id: s, from: [staff], to: [web], services: [https]}\n"


def compare(old: str, new: str, segments: str = SEGMENTS, renewed: str | None = None) -> Difference:
    """The difference between two lists of rules."""
    return diff(parse_policy(segments + old, "old"), parse_policy((renewed or segments) + new, "new"), NOW)


def lines(found: Difference) -> list[str]:
    return [str(change) for change in (*found.gained, *found.lost)]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (HTTPS, HTTPS, []),
        (HTTPS, NONE, ["- staff -> web : tcp/443  whatever the conditions"]),
        (
            HTTPS,
            "- {id: s, from: [staff], to: [web], services: [https], when: {mfa: true}}\n",
            ["- staff -> web : tcp/443  when no mfa"],
        ),
        (
            "- {id: s, from: [staff], to: [web], services: [https], when: {mfa: {within: 1h}}}\n",
            "- {id: s, from: [staff], to: [web], services: [https], when: {mfa: {within: 15m}}}\n",
            ["- staff -> web : tcp/443  when mfa within 1h and no mfa within 15m"],
        ),
        (
            HTTPS,
            "- {id: s, from: [staff], to: [web], services: [tcp/80-443], when: {device: true, aal: 2}}\n",
            [
                "+ staff -> web : tcp/80-442  when aal 2 and device",
                "- staff -> web : tcp/443  when aal below 2; or no device",
            ],
        ),
        (
            HTTPS,
            '- {id: s, from: [staff], to: [web], services: [https], when: {hours: "Mon-Fri 07:00-19:00 UTC"}}\n',
            ["- staff -> web : tcp/443  when outside Mon-Fri 07:00-19:00 UTC"],
        ),
        (
            HTTPS,
            HTTPS + "- {id: d, from: [any], to: [any], services: [any], action: deny}\n",
            ["- staff -> web : tcp/443  whatever the conditions"],
        ),
        (
            NONE,
            "- {id: p, from: [any], to: [any], services: [icmp]}\n",
            ["+ any -> any : icmp  whatever the conditions"],
        ),
        (
            NONE,
            "- {id: p, from: [db], to: {networks: [198.51.0.0/16]}, services: [any]}\n"
            "- {id: q, from: [db], to: {networks: [198.51.100.0/24]}, services: [any], action: deny}\n",
            ["+ db -> 198.51.0.0/16 except 198.51.100.0/24 : any  whatever the conditions"],
        ),
        (
            HTTPS,
            "- {id: s, from: [staff], to: [web], services: [https], when: {object: {labels: {site: x}}}}\n",
            ["- staff -> web : tcp/443  when the object has not site=x"],
        ),
        # Where an expression has no answer, an allow does not hold and a deny does.
        (
            NONE,
            HTTPS + "- {id: d, from: [staff], to: [web], services: [tcp], when: {cel: session.mfa}, action: deny}\n",
            ["+ staff -> web : tcp/443  when the expression session.mfa is false"],
        ),
        (
            HTTPS,
            "- {id: s, from: [staff], to: [web], services: [https], when: {cel: session.mfa}}\n",
            ["- staff -> web : tcp/443  when the expression session.mfa is not true"],
        ),
        # A principal with this label is in two segments, and has no access anyway.
        (NONE, "- {id: s, from: [staff], to: [web], services: [tcp], when: {subject: {labels: {tier: web}}}}\n", []),
        # No flow has ends of both IP versions.
        (
            NONE,
            "- id: s\n  from: [staff]\n  to: [web]\n  services: [tcp]\n"
            "  when: {subject: {networks: [10.0.0.0/8]}, object: {networks: ['2001:db8::/32']}}\n",
            [],
        ),
        # Every address is in one of them.
        (
            HTTPS,
            "- id: s\n  from: [staff]\n  to: [web]\n  services: [https]\n"
            "  when: {subject: {networks: [0.0.0.0/0, '::/0']}}\n",
            [],
        ),
    ],
)
def test_changes_are_told_in_words(old: str, new: str, wanted: list[str]) -> None:
    assert lines(compare(old, new)) == wanted


def test_a_change_names_its_rules_and_somebody_whom_it_is_about() -> None:
    found = compare(
        HTTPS, HTTPS + "- {id: d, from: [staff], to: [web], services: [any], when: {mfa: false}, action: deny}\n"
    )
    (change,) = found.view()["lost"]
    assert change["from"] == ["staff"]
    assert change["to"] == ["web"]
    assert change["services"] == ["tcp/443"]
    assert change["condition"]["text"] == "when no mfa"
    assert change["condition"]["any_of"] == [[{"of": "subject", "kind": "mfa", "text": "no mfa", "holds": False}]]
    assert [(rule["rule"], rule["policy"], rule["place"]) for rule in change["rules"]] == [
        ("s", "old", "old:8"),
        ("d", "new", "new:9"),
    ]
    assert example_text(found.lost[0].example) == (
        "somebody with group ops, no second factor -> somebody with tier=web, no second factor, "
        "tcp/443, at 2026-11-25T12:00:00Z"
    )


def test_segments_that_are_called_otherwise_are_no_difference() -> None:
    renewed = SEGMENTS.replace("  web:", "  www:")
    found = compare(HTTPS, HTTPS.replace("[web]", "[www]"), renewed=renewed)
    assert not found
    assert found.notes == ("segment web is called www now",)


def test_a_segment_split_in_two_is_no_difference_but_for_who_is_in_both() -> None:
    renewed = SEGMENTS.replace("[staff, ops]", "[staff]").replace("services:", "  ops: {groups: [ops]}\nservices:")
    found = compare(HTTPS, HTTPS.replace("[staff]", "[staff, ops]"), renewed=renewed)
    assert not found
    assert found.notes == ("segment staff: who is in more than one of staff, ops has no access now",)
    # As soon as the parts are not as good as the whole, that is a loss like any other.
    found = compare(HTTPS, HTTPS, renewed=renewed)
    assert lines(found) == ["- staff (now ops) -> web : tcp/443  whatever the conditions"]
    assert [str(change) for change in found.caught] == [
        "- staff (now in several segments) -> web : tcp/443  whatever the conditions"
    ]


def test_who_comes_into_a_segment_gains_what_it_may() -> None:
    renewed = SEGMENTS.replace("[staff, ops]", "[staff, ops, guests]")
    assert lines(compare(HTTPS, HTTPS, renewed=renewed)) == [
        "+ staff (before in no segment) -> web : tcp/443  whatever the conditions"
    ]


def test_who_comes_to_be_in_several_segments_is_told_apart() -> None:
    renewed = SEGMENTS.replace("services:", "  old-web: {labels: {tier: web, age: old}}\nservices:")
    found = compare(HTTPS, HTTPS, renewed=renewed)
    assert found
    assert lines(found) == []
    assert [str(change) for change in found.caught] == [
        "- staff -> web (now in several segments) : tcp/443  whatever the conditions"
    ]
    back = diff(found.new, found.old, NOW)
    assert [str(change) for change in back.freed] == [
        "+ staff -> web (before in several segments) : tcp/443  whatever the conditions"
    ]


def test_staged_rules_are_noted_and_no_difference() -> None:
    found = compare(HTTPS, HTTPS + "- {id: d, from: [any], to: [web], services: [any], action: deny, stage: audit}\n")
    assert not found
    assert found.notes == ("rule d (new:9) is staged: logged, not enforced",)


def test_a_segment_more_leaves_the_others_whole() -> None:
    """That their members may come to be in several segments is told apart."""
    renewed = SEGMENTS.replace("services:", "  guests: {groups: [guests]}\nservices:")
    found = compare(HTTPS, HTTPS.replace("[https]", "[https, tcp/80]"), renewed=renewed)
    assert lines(found) == ["+ staff -> web : tcp/80  whatever the conditions"]
    assert [change.targets for change in found.caught] == [("web (now in several segments)",), ("web",)]


def test_an_expression_is_told_on_one_line_and_drives_no_terminal() -> None:
    expression = "session.mfa &&\\n  subject.name != '\\u009b2J'"
    rule = f'- {{id: s, from: [staff], to: [web], services: [tcp], when: {{cel: "{expression}"}}}}\n'
    (line,) = lines(compare(NONE, rule))
    assert line.isprintable()
    assert "session.mfa && subject.name != " in line
