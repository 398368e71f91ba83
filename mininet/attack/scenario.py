"""A scenario: one attack, small and named, with what would be its success and the code that judges it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from attack.evidence import Evidence, Passed, arrivals
from lab.errors import LabError

if TYPE_CHECKING:
    from attack.trial import Trial

Attack = Callable[["Trial"], None]
Judge = Callable[[Evidence], Passed]


class NotHereError(Exception):
    """The topology has nothing that this attack could be tried on. The message says what is missing."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What a switch that lets connections in by itself cannot keep out, and why.

    `variants` is a regular expression that the whole label of such a variant has to match, with `{source}` and
    `{target}` for the pair that a rule lets talk; whatever else gets through has got through.
    """

    why: str
    variants: str

    def covers(self, label: str, source: str, target: str) -> bool:
        """Whether a variant is one of those."""
        wanted = self.variants.replace("{source}", re.escape(source)).replace("{target}", re.escape(target))
        return re.fullmatch(wanted, label) is not None


@dataclass(frozen=True, slots=True)
class Scenario:
    """An attack.

    `attack` tries it, possibly in several variants, each under a mark or an observation of its own; `judge` says
    what of each got through. `covers` names lines of coverage.ITEMS. `version` is the IP version that it needs, 0
    for any, `tool` the program that it runs. `unprotected` says why an unprotected network has no meaning for it;
    then `control` does, under the same judge, what is permitted, and has to be seen.
    `late`: it uses up limits that take time to be free again, and comes after all others.
    """

    name: str
    group: str
    reference: str
    tried: str
    success: str
    attack: Attack
    covers: tuple[str, ...]
    judge: Judge = arrivals
    quick: bool = False
    version: Literal[0, 4, 6] = 0
    tool: str | None = None
    unprotected: str = ""
    control: Attack | None = None
    late: bool = False
    granted: Granted | None = None

    def __post_init__(self) -> None:
        if bool(self.unprotected) != (self.control is not None):
            raise LabError(f"scenario {self.name}: a control stands in for an unprotected network, and only then")


class Registry:
    """The scenarios by name, in the order in which they are tried."""

    def __init__(self) -> None:
        self._by_name: dict[str, Scenario] = {}

    def add(self, scenario: Scenario) -> None:
        """Add a scenario with a name of its own."""
        if scenario.name in self._by_name:
            raise LabError(f"two scenarios are named {scenario.name}")
        self._by_name[scenario.name] = scenario

    def __iter__(self) -> Iterator[Scenario]:
        return iter(sorted(self._by_name.values(), key=lambda scenario: scenario.late))

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def by_name(self) -> Mapping[str, Scenario]:
        """Every scenario by its name."""
        return dict(self._by_name)

    def select(self, names: Iterable[str], groups: Iterable[str], *, quick: bool) -> list[Scenario]:
        """Those named or of a group named, or all; of these the quick ones. Raises LookupError for unknown names."""
        wanted, wanted_groups = set(names), set(groups)
        for name in sorted(wanted - set(self._by_name)):
            raise LookupError(f"there is no scenario {name}; ./run attack --list shows all")
        known = {scenario.group for scenario in self}
        for name in sorted(wanted_groups - known):
            raise LookupError(f"there is no group {name}; expected one of: {', '.join(sorted(known))}")
        everything = not wanted and not wanted_groups
        return [
            scenario
            for scenario in self
            if (everything or scenario.name in wanted or scenario.group in wanted_groups)
            and (scenario.quick or not quick)
        ]


class Group:
    """Declares the scenarios of one module: `@group.scenario(name, …)` above the function that attacks."""

    def __init__(self, name: str, registry: Registry, *, late: bool = False) -> None:
        self.name = name
        self._late = late
        self._registry = registry

    def scenario(
        self,
        name: str,
        *,
        reference: str,
        tried: str,
        success: str,
        covers: tuple[str, ...],
        judge: Judge = arrivals,
        quick: bool = False,
        version: Literal[0, 4, 6] = 0,
        tool: str | None = None,
        unprotected: str = "",
        control: Attack | None = None,
        granted: Granted | None = None,
    ) -> Callable[[Attack], Attack]:
        """Register the decorated function as the attack."""

        def register(attack: Attack) -> Attack:
            scenario = Scenario(
                name, self.name, reference, tried, success, attack, covers,
                judge, quick, version, tool, unprotected, control, self._late, granted,
            )  # fmt: skip
            self._registry.add(scenario)
            return attack

        return register


ATTACKS = Registry()
"""All scenarios; attack.scenarios fills it."""
