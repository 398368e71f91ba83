"""What holds for every comparison of two policies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from strategies.policy import NOW
from strategies.rewriting import File, full_files, loaded, questions, rewritten
from zethane.policy.decide import decide
from zethane.policy.diff import diff
from zethane.policy.difference import Difference
from zethane.policy.principal import Party, Principal

Question = tuple[Party, Party, int, int]


@given(rewritten())
def test_a_rewrite_that_changes_nothing_is_no_difference(files: tuple[File, File]) -> None:
    old, new = map(loaded, files)
    found = diff(old, new, NOW)
    assert not found, found.view()
    assert not diff(new, old, NOW)


@given(full_files(), full_files(), questions())
def test_policies_without_a_difference_decide_alike(old_file: File, new_file: File, question: Question) -> None:
    """And if there is none, no principal, flow and time tells the two apart."""
    old, new = loaded(old_file), loaded(new_file)
    before, after = (decide(policy, *question, NOW).allowed for policy in (old, new))
    found = diff(old, new, NOW)
    if before != after:
        changes = (*found.gained, *found.freed) if after else (*found.lost, *found.caught)
        assert changes or _is_noted(found, question)


def _is_noted(found: Difference, question: Question) -> bool:
    """Whether one of the ends is in several segments that are as good as the one before: see the notes."""
    ends = [end for end in question[:2] if isinstance(end, Principal)]
    several = any(len(policy.segments_of(end)) > 1 for end in ends for policy in (found.old, found.new))
    return several and any("in more than one of" in note for note in found.notes)


@given(full_files(), full_files())
def test_each_change_is_one_by_its_own_example(old_file: File, new_file: File) -> None:
    old, new = loaded(old_file), loaded(new_file)
    found = diff(old, new, NOW)
    for change in (*found.gained, *found.lost, *found.freed, *found.caught):
        example = change.example
        flow = example.subject, example.object, example.ip_proto, example.port, example.moment
        assert decide(new, *flow).allowed == change.gained
        assert decide(old, *flow).allowed != change.gained


EXPRESSIONS = ('subject.labels.site == "lab"', "session.aal >= 2", "subject.labels.tier == object.labels.tier")


@st.composite
def with_expressions(draw: st.DrawFn) -> File:
    """A policy some of whose rules ask for an expression, which may have no answer for those who lack a label."""
    file = draw(full_files(max_rules=4))
    for rule in file["rules"]:
        if draw(st.booleans()):
            rule["when"] = {**rule["when"], "cel": draw(st.sampled_from(EXPRESSIONS))}
    return file


@given(with_expressions(), with_expressions(), questions())
def test_expressions_that_are_not_understood_hide_no_difference(
    old_file: File, new_file: File, question: Question
) -> None:
    """They may make one where there is none; and the same policy has none to itself, errors or not."""
    old, new = loaded(old_file), loaded(new_file)
    before, after = (decide(policy, *question, NOW).allowed for policy in (old, new))
    found = diff(old, new, NOW)
    if before != after:
        changes = (*found.gained, *found.freed) if after else (*found.lost, *found.caught)
        assert changes or _is_noted(found, question)
    assert not diff(old, loaded({**old_file, "rules": old_file["rules"][::-1]}), NOW)
