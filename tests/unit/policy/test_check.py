"""Remarks, membership, the policy's own tests, explanations and the matrix."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from zethane.document import Place
from zethane.errors import InputError
from zethane.policy.check import Report, check
from zethane.policy.compile import compile_policy
from zethane.policy.explain import explain
from zethane.policy.lint import lint
from zethane.policy.load import parse_policy
from zethane.policy.matrix import matrix, services_of
from zethane.policy.model import Service
from zethane.policy.principal import DeviceFacts, External, Principal

A = Principal("user", "ann", frozenset({"a"}))
A_MFA = Principal("user", "amy", frozenset({"a"}), mfa=True)
B = Principal("workload", "box", frozenset({"b"}))
HEAD = "version: 1\nsegments: {a: {groups: [a]}, b: {groups: [b]}}\n"


def remarks(rest: str, people: tuple[Principal, ...] = (A, B)) -> list[str]:
    policy = parse_policy(HEAD + rest, "p")
    return [str(finding) for finding in lint(policy, compile_policy(policy), people)]


def report(rest: str, *people: Principal) -> Report:
    policy = parse_policy(HEAD + rest, "p")
    population = [(person, Place("ids", 7, 3, f"users.{person.name}")) for person in people]
    return check(policy, population, {"ann": A, "box": B, "ghost": None})


@pytest.mark.parametrize(
    ("rules", "remark"),
    [
        (
            "  - {id: x, from: [a], to: [b], services: [tcp/1-9]}\n"
            "  - {id: no, from: [any], to: [b], services: [tcp/1-5, tcp/6-20], action: deny}",
            "p:4:5: rule x: can never match: deny rules cover all of it [dead-rule]",
        ),
        (
            "  - {id: x, from: [b], to: [a], services: [tcp/1], when: {mfa: true}}",
            "p:4:5: rule x: can never match: nobody can be in b with a second factor [dead-rule]",
        ),
        (
            "  - {id: x, from: [a], to: [b], services: [tcp/1-9]}\n"
            "  - {id: w, from: [a], to: [b], services: [tcp/4], when: {mfa: false}}",
            "p:5:5: rule w: adds nothing to rule x on line 4 [covered-rule]",
        ),
        (
            "  - {id: x, from: [a], to: [b], services: [tcp/1]}\n  - {id: w, from: [a], to: [b], services: [tcp/1]}",
            "p:4:5: rule x: adds nothing to rule w on line 5 [covered-rule]",
        ),
        (
            "  - {id: x, from: [a], to: [b], services: [tcp/1, tcp/1]}",
            "p:4:5: rule x: names tcp/1 twice [repeated-service]",
        ),
        (
            "  - {id: x, from: [a], to: [b], services: [tcp/1, tcp]}",
            "p:4:5: rule x: names tcp/1 beside tcp, which covers it [repeated-service]",
        ),
        ("  - {id: x, from: [a], to: [b], services: [any]}", "p:4:5: rule x: opens any service [open-rule]"),
        ("  - {id: x, from: [any], to: [b], services: [tcp]}", "p:4:5: rule x: lets any segment in [open-rule]"),
        ("  - {id: x, from: [a], to: [any], services: [tcp]}", "p:4:5: rule x: opens any segment [open-rule]"),
    ],
)
def test_each_remark_names_its_rule(rules: str, remark: str) -> None:
    """One remark, with the line of the rule that it is about."""
    assert remarks(f"rules:\n{rules}") == [remark]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (
            "when: {mfa: false, aal: 3}",
            "p:4:5: rule x: can never match: assurance level 3 is not proved without a second factor [dead-rule]",
        ),
        (
            'when: {device: {labels: {managed: "no"}}}',
            "p:4:5: rule x: can never match: no device of the identities fits device managed=no [dead-rule]",
        ),
        (
            "when: {aal: 2}, action: deny",
            "p:4:5: rule x: denies only where this holds: aal 2; who proves less, or whose proof ages, is let by "
            "[lapsing-deny]",
        ),
        ("when: {mfa: false}, action: deny", None),
        ('when: {device: {labels: {managed: "yes"}}, posture: {disk: true}}', None),
        ("when: {posture: {disk: true}}", None),
    ],
)
def test_conditions_that_mislead_are_remarked(rule: str, wanted: str | None) -> None:
    """Those that nobody can meet, and denies that are got round by proving less."""
    policy = parse_policy(HEAD + f"rules:\n  - {{id: x, from: [a], to: [b], services: [tcp/1], {rule}}}\n", "p")
    devices = [DeviceFacts("laptop", labels=(("managed", "yes"),))]
    found = lint(policy, compile_policy(policy), (A, B), devices=devices)
    assert [str(one) for one in found] == ([wanted] if wanted else [])


def test_a_wider_condition_covers_a_narrower_one() -> None:
    rules = (
        "rules:\n  - {id: x, from: [a], to: [b], services: [tcp/1], when: {mfa: {within: 1h}}}\n"
        "  - {id: y, from: [a], to: [b], services: [tcp/1], when: {mfa: {within: 15m}, aal: 2}}\n"
    )
    assert remarks(rules, (A_MFA, B)) == ["p:5:5: rule y: adds nothing to rule x on line 4 [covered-rule]"]


def test_an_explanation_says_what_is_lacking() -> None:
    """Of the rules that would allow it, the one that asks for the fewest things more."""
    policy = parse_policy(
        HEAD + "rules:\n"
        "  - {id: x, from: [a], to: [b], services: [tcp/1], when: {aal: 3, device: true}}\n"
        "  - {id: y, from: [a], to: [b], services: [tcp/1], when: {mfa: {within: 15m}}}\n",
        "p",
    )
    proved = replace(A_MFA, mfa_at=1000.0)
    view = explain(policy, proved, B, Service.parse("tcp/1"), 1900.0).view()
    assert view["lacking"] == {"rule": "y", "needs": ["a second factor not older than 15m"]}
    assert view["considered"][0]["unmet"] == ["a proof of assurance level 3", "a device that has proved itself"]
    assert view["considered"][0]["because"] == (
        "needs a proof of assurance level 3; needs a device that has proved itself"
    )
    view = explain(policy, proved, B, Service.parse("tcp/1"), 1899.0).view()
    assert (view["decision"], view["rule"], view["lacking"]) == ("allow", "y", None)
    assert explain(policy, B, A, Service.parse("tcp/1")).view()["lacking"] is None


def test_services_that_are_the_same_under_two_names_are_remarked() -> None:
    """Split ranges are no excuse."""
    assert remarks("services: {x: [tcp/1-3], y: [tcp/1-2, tcp/3]}") == [
        "p:3:26: services.y: is the same as x [repeated-service]"
    ]


def test_a_segment_nobody_can_be_in_is_remarked() -> None:
    """Its selector is shown, and rules about it can never match."""
    found = remarks("rules:\n  - {id: x, from: [a], to: [b], services: [tcp/1]}", (A,))
    assert found == [
        "p:2:30: segments.b: nobody can be in this segment: no identity has group b [empty-segment]",
        "p:4:5: rule x: can never match: nobody can be in b [dead-rule]",
    ]


def test_two_segments_may_share_a_vlan_and_it_is_remarked() -> None:
    text = (
        "version: 1\nsegments:\n  a: {labels: {n: a}, vlan: 20}\n  b: {labels: {n: b}, vlan: 20}\n"
        "  c: {labels: {n: c}, vlan: 30}\nrules: []\n"
    )
    people = [Principal("workload", name, labels=(("n", name),)) for name in "abc"]
    policy = parse_policy(text, "p")
    (found,) = lint(policy, compile_policy(policy), people)
    assert str(found) == (
        "p:4:3: segments.b: is in VLAN 20 as a is: behind one legacy switch their sessions reach each other "
        "without passing Zethane [shared-vlan]"
    )


@pytest.mark.parametrize("vlan", ["0", "4095", "'20'", "2.5"])
def test_a_vlan_is_a_number_from_1_to_4094(vlan: str) -> None:
    with pytest.raises(InputError, match=r"segments\.a\.vlan"):
        parse_policy(f"version: 1\nsegments: {{a: {{labels: {{n: a}}, vlan: {vlan}}}}}\n", "p")


def test_an_explanation_names_the_vlan_of_a_segment() -> None:
    policy = parse_policy("version: 1\nsegments: {a: {labels: {n: a}, vlan: 20}}\n", "p")
    who = Principal("workload", "w", labels=(("n", "a"),))
    text = explain(policy, who, who, Service.parse("tcp/1")).view()["from"]["segments"]
    assert text == [{"segment": "a", "because": "n=a; VLAN 20 where tagged"}]


def test_a_careful_policy_gets_no_remarks() -> None:
    """A deny that only guards is meant; so is a rule for a second factor, which users can get at the portal."""
    rules = (
        "rules:\n  - {id: x, from: [a], to: [b], services: [tcp/1-9], when: {mfa: true}}\n"
        "  - {id: y, from: [a], to: [b], services: [tcp/5-12]}\n"
        "  - {id: no, from: [any], to: [any], services: [tcp/22], action: deny}"
    )
    assert remarks(rules, (A_MFA, B)) == remarks(rules, (A, B)) == []


def test_principals_outside_exactly_one_segment_are_errors() -> None:
    """They are named with their segments, where the identities have them."""
    neither, both = Principal("user", "nil"), Principal("user", "two", frozenset("ab"))
    found = report("", A, neither, both)
    assert [str(problem) for problem in found.errors] == [
        "ids:7:3: users.nil: principal user:nil is in no segment; expected exactly one segment of p",
        "ids:7:3: users.two: principal user:two is in more than one segment: a, b; expected exactly one segment of p",
    ]
    assert not found.passed


def test_the_policys_own_tests_run() -> None:
    """Both that hold and that fail are reported; one that fails fails the check."""
    rules = "rules:\n  - {id: x, from: [a], to: [b], services: [tcp/1-9]}\ntests:\n"
    good = "  - {allow: ann -> box, service: tcp/2-3}\n  - {deny: ghost -> box, service: any}\n"
    bad = "  - {deny: ann->box, service: tcp/8-12}\n  - {allow: ann -> box, service: tcp/8-12}\n"
    found = report(rules + good + bad, A, B)
    assert [outcome.passed for outcome in found.outcomes] == [True, True, False, False]
    assert found.outcomes[2].decision.reason == "rule x allows tcp/8 from a to b"
    assert found.outcomes[3].decision.reason == "no rule allows tcp/10 from a to b"
    assert not found.passed
    assert report(rules + good, A, B).passed


def test_a_test_about_an_unknown_host_is_an_error() -> None:
    """The line is that of the test."""
    found = report("tests:\n  - {deny: gost -> box, service: tcp/1}", A, B)
    assert [str(problem) for problem in found.errors] == [
        "p:4:5: tests: no host and no segment is named 'gost'; did you mean 'ghost'?"
    ]
    assert found.outcomes == ()


def test_an_explanation_has_the_whole_reason() -> None:
    """Both parties, every rule with why it applies or not, and the winner's line."""
    policy = parse_policy(
        HEAD + "rules:\n"
        "  - {id: x, from: [a], to: [b], services: [tcp/1]}\n"
        "  - {id: y, from: [any], to: [b], services: [tcp], when: {mfa: true}}\n"
        "  - {id: no, from: [a], to: [any], services: [tcp/1], action: deny}\n"
        "  - {id: other, from: [b], to: [a], services: [udp/1]}\n",
        "p",
    )
    view = explain(policy, A, B, Service.parse("tcp/1")).view()
    assert (view["decision"], view["rule"], view["place"]) == ("deny", "no", "p:6")
    assert view["reason"] == "rule no denies tcp/1 from a to b"
    assert view["from"] == {
        "principal": "user:ann",
        "mfa": False,
        "aal": 1,
        "device": None,
        "segments": [{"segment": "a", "because": "group a"}],
    }
    assert [(rule["rule"], rule["applies"], rule["because"]) for rule in view["considered"]] == [
        ("x", True, "matches, but rule no denies"),
        ("y", False, "needs a second factor"),
        ("no", True, "decides"),
        ("other", False, "from b, not a; to a, not b; for udp/1"),
    ]


def test_an_explanation_of_nobody_says_so() -> None:
    """A host without a login is not authenticated."""
    view = explain(parse_policy(HEAD, "p"), None, B, Service.parse("icmp")).view()
    assert (view["decision"], view["reason"]) == ("deny", "the subject is not authenticated")


def test_the_matrix_has_every_ordered_pair_and_named_service() -> None:
    """Names are expanded, `any` adds none, a range is one cell, and a host has no cell with itself."""
    policy = parse_policy(
        HEAD + "services: {dns: [udp/53, tcp/53], unused: [tcp/9]}\nrules:\n"
        "  - {id: d, from: [a], to: [b], services: [dns, any]}\n"
        "  - {id: r, from: [b], to: [a], services: [tcp/1-4]}\n"
        "  - {id: n, from: [b], to: [a], services: [tcp/3], action: deny}\n",
        "p",
    )
    assert [str(service) for service in services_of(policy)] == ["tcp/1-4", "tcp/3", "tcp/53", "udp/53"]
    cells = [cell.view() for cell in matrix(policy, {"ann": A, "box": B, "ghost": None})]
    assert len(cells) == 3 * 2 * 4
    assert {"from": "ann", "to": "box", "service": "udp/53", "decision": "allow", "rule": "d"} in cells
    assert {"from": "box", "to": "ann", "service": "tcp/1-4", "decision": "deny", "rule": "n"} in cells
    assert {"from": "ghost", "to": "box", "service": "tcp/53", "decision": "deny", "rule": None} in cells


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ("  - {id: x, from: [a], to: {networks: [198.51.100.0/24]}, services: [tcp/1]}", []),
        ("  - {id: x, from: {networks: [198.51.0.0/16]}, to: [b], services: [tcp/1]}", []),
        (
            "  - {id: x, from: [a], to: {networks: [0.0.0.0/0]}, services: [tcp/1]}\n"
            "  - {id: w, from: [a], to: {networks: [198.51.100.0/24]}, services: [tcp/1]}",
            [
                "p:4:5: rule x: opens any address outside [open-rule]",
                "p:5:5: rule w: adds nothing to rule x on line 4 [covered-rule]",
            ],
        ),
        (
            "  - {id: x, from: {networks: ['::/0']}, to: [a], services: [tcp/1], action: deny}\n"
            "  - {id: w, from: {networks: [198.51.100.0/24]}, to: [a], services: [tcp/1]}",
            ["p:4:5: rule x: no uplink of the network leads to ::/0 [unreachable-network]"],
        ),
        (
            "  - {id: x, from: {networks: [198.51.0.0/16]}, to: [a], services: [tcp], action: deny}\n"
            "  - {id: w, from: {networks: [198.51.100.0/24]}, to: [a], services: [tcp/1]}",
            ["p:5:5: rule w: can never match: deny rules cover all of it [dead-rule]"],
        ),
        # What denies every session denies nothing outside.
        (
            "  - {id: x, from: [any], to: [a], services: [tcp], action: deny}\n"
            "  - {id: w, from: {networks: [198.51.100.0/24]}, to: [a], services: [tcp/1]}",
            [],
        ),
        (
            "  - {id: x, from: {segments: [any], networks: [198.51.100.0/24]}, to: [b], services: [tcp/1]}\n"
            "  - {id: w, from: {networks: [198.51.100.80]}, to: [b], services: [tcp/1]}",
            [
                "p:4:5: rule x: lets any segment in [open-rule]",
                "p:5:5: rule w: adds nothing to rule x on line 4 [covered-rule]",
            ],
        ),
    ],
)
def test_remarks_about_networks(rules: str, wanted: list[str]) -> None:
    policy = parse_policy(HEAD + "rules:\n" + rules, "p")
    found = lint(policy, compile_policy(policy), (A, B), [ip_network("198.51.0.0/16")])
    assert [str(one) for one in found] == wanted


NETWORKS = """\
rules:
  - {id: out, from: [a], to: {networks: [198.51.100.0/24, "2001:db8:1::/48"]}, services: [tcp/443]}
  - {id: not-there, from: [a], to: {networks: ["2001:db8:1:2::/64"]}, services: [tcp/443], action: deny}
"""
OUTSIDE = (External(ip_address("198.51.100.80")), External(ip_address("2001:db8:1:2::80")))


def test_what_has_several_addresses_outside_may_do_what_each_may() -> None:
    """The matrix asks for all of them, an expected denial for each, and the explanation shows the one that decides."""
    policy = parse_policy(HEAD + NETWORKS, "p")
    cells = matrix(policy, {"ann": A, "www": OUTSIDE, "v4": OUTSIDE[:1]})
    said = {(cell.source, cell.target): cell.decision.allowed for cell in cells}
    assert said == {
        ("ann", "www"): False,
        ("ann", "v4"): True,
        ("www", "ann"): False,
        ("v4", "ann"): False,
    }
    explanation = explain(policy, A, OUTSIDE, Service.parse("tcp/443"))
    assert explanation.decision.rule == "not-there"
    assert explanation.object.view() == {
        "principal": None,
        "mfa": None,
        "aal": None,
        "device": None,
        "segments": [],
        "address": "2001:db8:1:2::80",
        "networks": ["2001:db8:1:2::/64", "2001:db8:1::/48"],
    }
    assert [rule.because for rule in explanation.considered] == [
        "matches, but rule not-there denies",
        "decides",
    ]
    text = "tests:\n" + "".join(f"  - {{{word}: ann -> www, service: tcp/443}}\n" for word in ("allow", "deny"))
    policy = parse_policy(HEAD + NETWORKS + text, "p")
    outcomes = check(policy, [], {"ann": A, "www": OUTSIDE}).outcomes
    assert [outcome.passed for outcome in outcomes] == [False, False]


def test_nobody_outside_is_in_a_network_that_the_policy_does_not_name() -> None:
    policy = parse_policy(HEAD + NETWORKS, "p")
    explanation = explain(policy, A, External(ip_address("192.0.2.1")), Service.parse("tcp/443"))
    assert explanation.decision.reason == "the object 192.0.2.1 is in no network that the policy names"
    assert str(explanation.object) == "192.0.2.1 outside, in no network of the policy"


DAY, NIGHT = "hours: Mon-Fri 07:00-19:00 UTC", "hours: Mon-Sun 19:00-07:00 UTC"


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        # x comes first; y is the one that might add nothing.
        (DAY, DAY, "rule y: adds nothing to rule x on line 4 [covered-rule]"),
        ("mfa: false", f"mfa: false, {DAY}", "rule y: adds nothing to rule x on line 4 [covered-rule]"),
        (DAY, NIGHT, None),
        (DAY, "mfa: false", None),
        ("object: {labels: {rack: a}}", "object: {labels: {rack: b}}", None),
        (
            "object: {groups: [b, c]}",
            "object: {groups: [b]}",
            "rule y: adds nothing to rule x on line 4 [covered-rule]",
        ),
        (
            "subject: {networks: [10.0.0.0/8]}",
            "subject: {networks: [10.1.0.0/16]}",
            "rule y: adds nothing to rule x on line 4 [covered-rule]",
        ),
        ("subject: {networks: [10.1.0.0/16]}", "subject: {networks: [10.0.0.0/8]}", "rule x: adds nothing to rule y"),
        ("subject: {networks: [10.1.0.0/16]}", "object: {networks: [10.1.0.0/16]}", None),
    ],
)
def test_what_a_rule_asks_counts_when_another_covers_it(first: str, second: str, wanted: str | None) -> None:
    rules = "".join(
        f"  - {{id: {name}, from: [a], to: [b], services: [tcp/1], when: {{{when}}}}}\n"
        for name, when in (("x", first), ("y", second))
    )
    people = (
        replace(A, labels=(("rack", "a"),)),
        replace(B, labels=(("rack", "a"),)),
        replace(B, labels=(("rack", "b"),)),
    )
    found = [one for one in remarks(f"rules:\n{rules}", people) if "covered-rule" in one]
    assert len(found) == (wanted is not None)
    assert all(str(wanted) in one for one in found)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("when: {subject: {labels: {rack: '7'}}}", "can never match: nobody in a has rack=7 [dead-rule]"),
        ("when: {object: {groups: [x, y]}}", "can never match: nobody in b has group x or y [dead-rule]"),
        ("when: {subject: {groups: [a]}}", None),
        ("when: {subject: {networks: [10.0.0.0/8]}}", None),
        (f"when: {{{DAY}}}", None),
        (f"when: {{{DAY}}}, action: deny", None),
        ("when: {object: {groups: [b]}}, action: deny", None),
        (
            "when: {subject: {networks: [10.0.0.0/8]}}, action: deny",
            "denies only where the subject has an address in 10.0.0.0/8; with another of its addresses it is let by "
            "[lapsing-deny]",
        ),
        (
            "when: {object: {networks: [10.0.0.0/8]}}, action: deny",
            "denies only where the object has an address in 10.0.0.0/8; with another of its addresses it is let by "
            "[lapsing-deny]",
        ),
    ],
)
def test_conditions_of_both_ends_that_mislead_are_remarked(rule: str, wanted: str | None) -> None:
    found = remarks(f"rules:\n  - {{id: x, from: [a], to: [b], services: [tcp/1], {rule}}}\n")
    assert found == ([f"p:4:5: rule x: {wanted}"] if wanted else [])


def test_a_deny_with_hours_does_not_make_a_rule_dead() -> None:
    rules = (
        "rules:\n  - {id: x, from: [a], to: [b], services: [tcp/1]}\n"
        f"  - {{id: y, from: [a], to: [b], services: [tcp], action: deny, when: {{{NIGHT}}}}}\n"
    )
    assert remarks(rules) == []


def test_an_explanation_names_the_hours_and_what_the_object_lacks() -> None:
    policy = parse_policy(
        HEAD + "rules:\n"
        f"  - {{id: x, from: [a], to: [b], services: [tcp/1], when: {{{DAY}}}}}\n"
        "  - {id: y, from: [a], to: [b], services: [tcp/1], "
        "when: {object: {labels: {rack: '7'}, networks: [10.0.0.0/8]}}}\n",
        "p",
    )
    noon, night = 1795694400.0, 1795737600.0  # a Thursday
    service = Service.parse("tcp/1")
    assert explain(policy, A, B, service, noon).view()["rule"] == "x"
    view = explain(policy, A, B, service, night).view()
    assert (view["decision"], view["lacking"]["rule"]) == ("deny", "x")
    assert view["considered"][0]["unmet"] == ["a time within Mon-Fri 07:00-19:00 UTC"]
    assert view["considered"][1]["unmet"] == [
        "an object with the label rack=7",
        "an object with an address in 10.0.0.0/8",
    ]
    there = replace(B, labels=(("rack", "7"),), address=ip_address("10.1.2.3"))
    assert explain(policy, A, there, service, night).view()["rule"] == "y"


@pytest.mark.parametrize(
    ("test", "is_remarked"),
    [
        ("{allow: ann -> box, service: tcp/443}", True),
        ("{allow: ann -> box, service: tcp/443, at: 2026-11-23T12:00Z}", False),
        ("{deny: ann -> box, service: tcp/22}", False),
        ("{deny: box -> ann, service: tcp/443}", False),
        ("{deny: ghost -> box, service: tcp/443}", False),
        ("{deny: b -> a, service: tcp/443}", False),
    ],
)
def test_a_test_that_the_time_of_day_decides_is_remarked(test: str, is_remarked: bool) -> None:
    """It would pass by day, and keep the policy from being put in force by night."""
    rules = 'rules:\n  - {id: x, from: [a], to: [b], services: [tcp/443], when: {hours: "Mon-Fri 07:00-19:00 UTC"}}\n'
    found = report(f"{rules}tests:\n  - {test}\n", A, B).findings
    remark = "p:6:5: tests: depends on the time, by the hours of rule x; expected at: TIME [timed-test]"
    assert (remark in map(str, found)) is is_remarked
