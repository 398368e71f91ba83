"""The policy file while the controller runs: watched, read, checked, and put in force as one change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from watchfiles import awatch

from zethane.app.topology import Topology, load_policy
from zethane.errors import InputError, Problem, ZethaneError
from zethane.policy.check import Outcome
from zethane.policy.model import Policy

_log = structlog.get_logger("zethane.policy")

Use = Callable[[Policy], Awaitable[object]]
Refused = Callable[[str, str], None]
"""Called with the version that stays in force, and what is wrong with the one that was refused."""


class PolicyFile:
    """Holds the file against what is in force. A bad file never replaces a good policy."""

    def __init__(self, topology: Topology, use: Use, refused: Refused, clock: Callable[[], float]) -> None:
        self._topology = topology
        self._use = use
        self._refused = refused
        self._clock = clock
        self._digest = topology.policy.digest
        self._busy = asyncio.Lock()
        self.loaded = clock()
        self.problems: tuple[Problem, ...] = ()

    @property
    def file(self) -> Path:
        """The policy file."""
        return Path(self._topology.policy.file)

    async def reload(self) -> bool:
        """Read the file, and put it in force if it is good and new. Raises InputError if it is bad."""
        async with self._busy:
            try:
                policy = await asyncio.to_thread(self._checked)
                if policy.digest == self._digest:
                    self.problems = ()
                    return False
                await self._use(policy)
            except InputError as error:
                self._keep_old(error.problems)
                raise
            except ZethaneError as error:
                problem = Problem(str(self.file), str(error))
                self._keep_old((problem,))
                raise InputError([problem]) from error
            self._digest = policy.digest
            self.loaded = self._clock()
            self.problems = ()
            _log.info("policy-loaded", version=policy.digest, rules=len(policy.rules))
            return True

    def _checked(self) -> Policy:
        """The file's policy, in a worker thread. Raises InputError also where its own tests fail."""
        policy = load_policy(self.file)
        report = self._topology.check(policy)
        failed = (outcome for outcome in report.outcomes if not outcome.passed)
        problems = [*report.errors, *(_problem(policy, outcome) for outcome in failed)]
        if problems:
            raise InputError(problems)
        return policy

    def _keep_old(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        for problem in problems:
            _log.error("policy-refused", problem=str(problem), in_force=self._digest)
        self._refused(self._digest, "; ".join(str(problem) for problem in problems[:10]))

    async def watch(self) -> None:
        """Reload whenever the file changes, until cancelled. The folder is watched: editors replace files."""
        async for changes in awatch(self.file.parent, recursive=False, step=50, debounce=400):
            if any(Path(name).name == self.file.name for _, name in changes):
                try:
                    await self.reload()
                except InputError:
                    continue  # logged, and shown at the API, by _keep_old


def _problem(policy: Policy, outcome: Outcome) -> Problem:
    test = outcome.test
    expected = "allowed" if test.allow else "denied"
    what = f"the policy's own test fails: {test.source} -> {test.target} {outcome.service} is not {expected}"
    return Problem(policy.file, f"{what}: {outcome.decision.reason}", test.line, test.column, "tests")
