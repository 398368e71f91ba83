"""Policy text to a Policy: names resolved, and everything that is wrong with it said at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

from zethane.document import Document, Findings, closest, parse, quote
from zethane.document.duration import seconds
from zethane.errors import ExpressionError
from zethane.net.prefix import Prefix, in_order, parse_prefix
from zethane.policy.condition import NOTHING_ASKED, Condition, the_same, version
from zethane.policy.expression import MAX_EXPRESSIONS, Expression, compiled
from zethane.policy.hours import MAX_WINDOWS, Hours, Window, parse_window
from zethane.policy.model import ANY, MAX_CONDITIONS, MAX_NETWORKS, NamedService, Policy, Rule, Segment, Test
from zethane.policy.moment import parse_moment
from zethane.policy.principal import DEFAULT_MAX_AGE, Attribute
from zethane.policy.relation import with_expression
from zethane.policy.schema import (
    MAX_AGE,
    ConditionFile,
    DeviceConditionFile,
    EndsFile,
    FactorFile,
    PartyConditionFile,
    PolicyFile,
    RuleFile,
    TestFile,
)
from zethane.policy.service import EXPECTED, PROTOCOLS, Service

Path = tuple[str | int, ...]


def parse_policy(text: str, file: str) -> Policy:
    """The policy in `text`; `file` only names it in problems and explanations.

    Raises InputError with one Problem for everything that is wrong.
    """
    return _Loader(parse(text, file, PolicyFile)).load(text)


def or_a_name(error: ValueError) -> str:
    """What else would have been right where Service.parse found no service at all."""
    return ", or a name from services" if str(error) == EXPECTED else ""


class _Loader:
    """Resolves one document, collecting problems."""

    def __init__(self, document: Document[PolicyFile]) -> None:
        self._document = document
        self._file = document.value
        self._findings = Findings(document)
        self._services: dict[str, NamedService] = {}
        self._expressions: set[str] = set()
        self._windows: set[Window] = set()

    def load(self, text: str) -> Policy:
        segments = self._segments()
        self._named_services()
        rules = tuple(self._rule(index, rule) for index, rule in enumerate(self._file.rules))
        self._unique_ids()
        self._bounded_networks(rules)
        self._bounded_conditions(rules)
        tests = tuple(self._test(index, test) for index, test in enumerate(self._file.tests))
        self._findings.raise_any()
        file = self._document.file
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Policy(file, digest, segments, self._services, rules, tests, self._file.stage, text)

    def _problem(self, message: str | Callable[[], str], *path: str | int, key: bool = False) -> None:
        self._findings.add(message, *path, key=key)

    def _segments(self) -> dict[str, Segment]:
        segments = {}
        for name, selector in self._file.segments.items():
            if name == ANY:
                self._problem(
                    "any already means every authenticated session; expected another name",
                    "segments",
                    name,
                    key=True,
                )
            if selector.labels is None and selector.groups is None:
                self._problem(
                    "expected labels or groups: a segment without a selector would hold everybody",
                    "segments",
                    name,
                )
            labels = tuple(sorted((selector.labels or {}).items()))
            place = self._document.place("segments", name, key=True)
            segments[name] = Segment(name, labels, frozenset(selector.groups or ()), *place, vlan=selector.vlan or 0)
        return segments

    def _named_services(self) -> None:
        for name, words in self._file.services.items():
            if name in PROTOCOLS:
                self._problem(f"{name} is a protocol; expected another name", "services", name, key=True)
            literals = (self._literal(word, "services", name, index) for index, word in enumerate(words))
            services = tuple(service for service in literals if service is not None)
            place = self._document.place("services", name, key=True)
            self._services[name] = NamedService(name, services, *place)

    def _literal(self, word: str, *path: str | int) -> Service | None:
        try:
            return Service.parse(word)
        except ValueError as error:
            self._problem(f"{error}, found {quote(word)}", *path)
            return None

    def _resolve(self, word: str, *path: str | int) -> tuple[Service, ...]:
        """The services of a name or of a literal."""
        if word in self._services:
            return self._services[word].services
        try:
            return (Service.parse(word),)
        except ValueError as error:
            expected = f"{error}{or_a_name(error)}"
            self._problem(lambda: f"{expected}, found {quote(word)}{closest(word, self._services)}", *path)
            return ()

    def _rule(self, index: int, rule: RuleFile) -> Rule:
        path: Path = ("rules", index)
        sources, source_networks = self._ends(rule.sources, *path, "from")
        targets, target_networks = self._ends(rule.targets, *path, "to")
        if source_networks and target_networks:
            message = "expected segments on one side: between two networks is nobody who has logged in"
            self._problem(message, *path, "to", "networks")
        condition = self._condition(rule.when, *path, "when")
        if source_networks and condition:
            about = min(rule.when.model_fields_set - {"object", "hours", "cel"})
            self._problem("expected no condition: nobody in a network has logged in", *path, "when", about, key=True)
        services = tuple(
            service
            for position, word in enumerate(rule.services)
            for service in self._resolve(word, *path, "services", position)
        )
        place = self._document.place(*path)
        parties = (sources, targets, services, rule.action, condition)
        asked = self._object_condition(rule.when, *path, "when"), self._hours(rule.when, *path, "when", "hours")
        if target_networks and asked[0]:
            message = "expected no condition on the object: nobody in a network has logged in"
            self._problem(message, *path, "when", "object", key=True)
        ends = source_networks, target_networks
        read = Rule(rule.id, *parties, *place, *ends, *asked, stage=rule.stage, enforce=rule.enforce)
        expression = self._expression(rule.when.cel, *path, "when", "cel")
        read = read if expression is None else with_expression(read, expression)
        self._grantable(read, *path)
        return read

    def _grantable(self, rule: Rule, *path: str | int) -> None:
        """A switch decides by the classes of both ends and the service: what takes more, it cannot grant."""
        if not rule.is_grant:
            return
        if not rule.allow:
            self._problem("expected flow: a deny rule is the switch's own business anyway", *path, "enforce")
        if rule.expression is not None:
            message = (
                "expected flow: its expression is about both ends, an address or the time, which no switch can tell"
            )
            self._problem(message, *path, "enforce")

    def _expression(self, text: str | None, *path: str | int) -> Expression | None:
        if text is None:
            return None
        self._expressions.add(text)
        if len(self._expressions) > MAX_EXPRESSIONS:
            self._problem(f"more than {MAX_EXPRESSIONS} different expressions up to here; expected fewer", *path)
            return None
        try:
            return compiled(text)
        except ExpressionError as error:
            self._problem(f"expected an expression in CEL: {error}", *path)
            return None

    def _ends(self, ends: tuple[str, ...] | EndsFile, *path: str | int) -> tuple[tuple[str, ...], tuple[Prefix, ...]]:
        """The segments and the networks of one side of a rule."""
        if not isinstance(ends, EndsFile):
            self._known_segments(ends, *path)
            return ends, ()
        self._known_segments(ends.segments, *path, "segments")
        return ends.segments, self._prefixes(ends.networks, *path, "networks")

    def _prefixes(self, texts: tuple[str, ...], *path: str | int) -> tuple[Prefix, ...]:
        networks: list[Prefix] = []
        for index, text in enumerate(texts):
            try:
                network = parse_prefix(text)
            except ValueError as error:
                self._problem(str(error), *path, index)
                continue
            if network in networks:
                self._problem(f"{network} is named twice", *path, index)
            networks.append(network)
        return tuple(networks)

    def _condition(self, when: ConditionFile, *path: str | int) -> Condition:
        if not when.model_fields_set:
            return NOTHING_ASKED
        factor = when.mfa
        within = seconds(factor.within) if isinstance(factor, FactorFile) else None
        device = when.device if isinstance(when.device, DeviceConditionFile) else DeviceConditionFile()
        if isinstance(when.device, DeviceConditionFile) and device.labels is None and device.groups is None:
            self._problem("expected labels or groups, or true for any device that has proved itself", *path, "device")
        posture, max_age = self._posture(when.posture or {}, *path, "posture")
        asked = Condition(
            mfa=True if within is not None else cast(bool | None, factor),
            mfa_within=within,
            aal=when.aal,
            device=when.device is not None,
            device_labels=tuple(sorted((device.labels or {}).items())),
            device_groups=frozenset(device.groups or ()),
            posture=posture,
            posture_max_age=max_age,
            **self._of_itself(when.subject, *path, "subject"),
        )
        return the_same(asked)

    def _object_condition(self, when: ConditionFile, *path: str | int) -> Condition:
        return the_same(Condition(**self._of_itself(when.object, *path, "object"))) if when.object else NOTHING_ASKED

    def _of_itself(self, asked: PartyConditionFile | None, *path: str | int) -> dict[str, Any]:
        """What is asked of a principal itself and of its address."""
        if asked is None:
            return {}
        if not asked.model_fields_set:
            self._problem("expected labels, groups or networks", *path)
        return {
            "labels": tuple(sorted((asked.labels or {}).items())),
            "groups": frozenset(asked.groups or ()),
            "networks": tuple(in_order(self._prefixes(asked.networks or (), *path, "networks"))),
        }

    def _hours(self, when: ConditionFile, *path: str | int) -> Hours | None:
        if when.hours is None:
            return None
        if isinstance(when.hours, str):
            windows = [self._window(when.hours, *path)]
        else:
            windows = [self._window(text, *path, index) for index, text in enumerate(when.hours)]
        found = tuple(window for window in windows if window is not None)
        self._windows.update(found)
        if len(self._windows) > MAX_WINDOWS:
            self._problem(f"more than {MAX_WINDOWS} different windows up to here; expected fewer", *path)
        return Hours(found)

    def _window(self, text: str, *path: str | int) -> Window | None:
        try:
            return parse_window(text)
        except ValueError as error:
            self._problem(str(error), *path)
            return None

    def _posture(
        self, asked: Mapping[str, Attribute], *path: str | int
    ) -> tuple[tuple[tuple[str, Attribute], ...], float]:
        """The attributes, and how old their measurement may be."""
        attributes = {name: value for name, value in asked.items() if name != MAX_AGE}
        if asked and not attributes:
            self._problem("expected an attribute of the device besides max_age", *path)
        for name, value in attributes.items():
            if isinstance(value, str) and value.startswith(">=") and version(value[2:]) is None:
                self._problem(f"expected numbers with dots after >=, such as >=12.5, found {quote(value)}", *path, name)
        max_age = DEFAULT_MAX_AGE
        if attributes and MAX_AGE in asked:
            try:
                max_age = seconds(str(asked[MAX_AGE]))
            except ValueError as error:
                self._problem(str(error), *path, MAX_AGE)
        return tuple(sorted(attributes.items())), max_age

    def _bounded_conditions(self, rules: Sequence[Rule]) -> None:
        """Each condition more can double the classes of a segment."""
        asked: dict[str, dict[str, list[str]]] = {name: {} for name in self._file.segments}
        for index, rule in enumerate(rules):
            for names, condition in ((rule.sources, rule.condition), (rule.targets, rule.object_condition)):
                for name in self._file.segments if ANY in names else names:
                    if not condition:  # one that is staged counts: it is meant to be enforced one day
                        continue
                    found = asked.get(name, {})
                    found.setdefault(condition.key, []).append(rule.id)
                    if len(found) > MAX_CONDITIONS:
                        others = ", ".join(first for first, *_ in found.values())
                        message = (
                            f"segment {name} is asked for more than {MAX_CONDITIONS} different conditions, "
                            f"by rules {others}; expected fewer"
                        )
                        self._problem(message, "rules", index, "when", key=True)
                        return

    def _bounded_networks(self, rules: Sequence[Rule]) -> None:
        named: set[Prefix] = set()
        for index, rule in enumerate(rules):
            named.update(rule.source_networks, rule.target_networks)
            if len(named) > MAX_NETWORKS:
                side: Literal["from", "to"] = "from" if rule.source_networks else "to"
                message = f"more than {MAX_NETWORKS} different networks up to here; expected fewer"
                self._problem(message, "rules", index, side, "networks")
                return

    def _known_segments(self, names: Sequence[str], *path: str | int) -> None:
        seen: set[str] = set()
        for index, name in enumerate(names):
            if name in seen:
                self._problem(f"{quote(name)} is named twice", *path, index)
            if name == ANY and len(names) > 1:
                self._problem("any already includes the other names; expected it alone", *path, index)
            if name != ANY and name not in self._file.segments:
                self._problem(partial(self._unknown_segment, name), *path, index)
            seen.add(name)

    def _unknown_segment(self, name: str) -> str:
        return f"no segment is named {quote(name)}{closest(name, self._file.segments)}"

    def _unique_ids(self) -> None:
        lines: dict[str, int] = {}
        for index, rule in enumerate(self._file.rules):
            line, _ = self._document.place("rules", index, "id")
            if rule.id in lines:
                self._problem(f"rule id {quote(rule.id)} is already on line {lines[rule.id]}", "rules", index, "id")
            lines.setdefault(rule.id, line)

    def _test(self, index: int, test: TestFile) -> Test:
        path: Path = ("tests", index)
        place = self._document.place(*path)
        given = {"allow": test.allow, "deny": test.deny, "never": test.never}
        words = [word for word, text in given.items() if text is not None]
        if len(words) != 1:
            self._problem("expected one of allow, deny and never", *path)
            return Test(False, "", "", (), *place)
        arrow, _, suffix = (given[words[0]] or "").partition(" : ")
        source, _, target = arrow.partition("->")
        if (test.service is None) == (not suffix):
            self._problem('expected one service: the key service, or "A -> B : SERVICE" in quotes', *path)
        word, where = (suffix.strip(), words[0]) if suffix else (test.service or "", "service")
        services = self._resolve(word, *path, where) if word else ()
        self._only_about_ends(test.when, *path, "when")
        asked = self._condition(test.when, *path, "when"), self._object_condition(test.when, *path, "when")
        moment = self._moment(test.at, *path, "at")
        if moment is not None and test.never:
            self._problem("expected no time: what never is, is at none", *path, "at", key=True)
        ends = source.strip(), target.strip(), services
        return Test(test.allow is not None, *ends, *place, test.never is not None, *asked, moment)

    def _only_about_ends(self, when: ConditionFile, *path: str | int) -> None:
        if when.hours is not None:
            self._problem("expected at, the moment of the test, beside when", *path, "hours", key=True)
        if when.cel is not None:
            self._problem("expected what an end has or proves: an expression does not say that", *path, "cel", key=True)

    def _moment(self, text: str | None, *path: str | int) -> float | None:
        if text is None:
            return None
        try:
            return parse_moment(text)
        except ValueError as error:
            self._problem(f"{error}, found {quote(text)}", *path)
            return None
