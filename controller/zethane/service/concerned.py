"""Which classes changed rules are about, and the verdicts that a change of the policy cannot have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zethane.service.policy_classes import ClassNumbers
from zethane.service.verdict import Group, Verdict


class Concerned:
    """Between which classes changed rules say something."""

    def __init__(self, before: ClassNumbers, classes: ClassNumbers, areas: Sequence[tuple[int, int]]) -> None:
        """`areas` are subjects and objects, as bits, that the rules are about, rule by rule."""
        self._before = before
        self._classes = classes
        self._areas = areas
        self._known: dict[tuple[int, int], bool] = {}

    def __call__(self, subject_class: int, object_class: int) -> bool:
        """Whether they do between these. Classes that there were not, or are no longer, are always concerned."""
        pair = subject_class, object_class
        found = self._known.get(pair)
        if found is None:
            found = self._known[pair] = self._is_new(subject_class) or self._is_new(object_class) or self._find(*pair)
        return found

    def same_peers(self) -> bool:
        """Whether it is sure that all classes have to do with the same ones as before."""
        return self._classes.between.is_same and self._before.segments is self._classes.segments

    def _is_new(self, number: int) -> bool:
        return number not in self._before.classes or number not in self._classes.classes

    def _find(self, subject_class: int, object_class: int) -> bool:
        subject, target = self._classes.bit(subject_class) >> 1, self._classes.bit(object_class) >> 1
        return any(subject & one and target & other for one, other in self._areas)


class KeptVerdicts:
    """Those of the policy before that a change cannot have changed."""

    def __init__(self, verdicts: Mapping[Group, Verdict] | None = None, concerned: Concerned | None = None) -> None:
        self._verdicts = verdicts or {}
        self._concerned = concerned

    def get(self, wanted: Group) -> Verdict | None:
        """What was decided, if it is still so."""
        found = self._verdicts.get(wanted)
        if found is None or found.relations or self._concerned is None or self._concerned(wanted[0], wanted[1]):
            return None
        return found
