"""The policy file and identities.yaml while the controller runs: watched, read, checked, put in force as one change."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from watchfiles import awatch

from zethane.app.files import read_text
from zethane.app.topology import IDENTITIES_FILE, Topology, load_policy
from zethane.app.workers import in_process
from zethane.errors import InputError, Problem, ZethaneError
from zethane.identity.directory import Directory, parse_identities
from zethane.policy.model import Policy
from zethane.policy.outcome import Outcome

SMALL = 32_768
"""Bytes of a file that a thread may read while the event loop goes on: some 50 ms of computing, in short pieces."""

ENTRY = 64
"""Bytes that somebody in identities.yaml counts for, when a policy is held against all of them."""

_log = structlog.get_logger("zethane.policy")

Use = Callable[[Policy], Awaitable[object]]
Refused = Callable[[str, str], None]
"""Called with the version that stays in force, and what is wrong with the one that was refused."""


class _WatchedFile:
    """A file that is in force. A bad version of it never replaces a good one."""

    def __init__(self, file: Path, clock: Callable[[], float]) -> None:
        self.file = file
        self.problems: tuple[Problem, ...] = ()
        self._clock = clock
        self._busy = asyncio.Lock()
        self.loaded = clock()

    async def reload(self) -> bool:
        """Read the file, and put it in force if it is good and new. Raises InputError if it is bad."""
        async with self._busy:
            try:
                is_new = await self._read()
            except InputError as error:
                self._keep_old(error.problems)
                raise
            except ZethaneError as error:
                problem = Problem(str(self.file), str(error))
                self._keep_old((problem,))
                raise InputError([problem]) from error
            self.problems = ()
            if is_new:
                self.loaded = self._clock()
            return is_new

    async def _read(self) -> bool:
        """Read, check, and put in force what is new; whether it was. Raises ZethaneError."""
        raise NotImplementedError

    def _keep_old(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems

    async def watch(self) -> None:
        """Reload whenever the file changes, until cancelled. The folder is watched: editors replace files."""
        async for changes in awatch(self.file.parent, recursive=False, step=50, debounce=400):
            if any(Path(name).name == self.file.name for _, name in changes):
                try:
                    await self.reload()
                except InputError:
                    continue  # logged, and shown at the API, by _keep_old


class PolicyFile(_WatchedFile):
    """Holds the policy file against what is in force."""

    def __init__(self, topology: Topology, use: Use, refused: Refused, clock: Callable[[], float]) -> None:
        super().__init__(Path(topology.policy.file), clock)
        self.topology = topology
        self._use = use
        self._refused = refused
        self._digest = topology.policy.digest

    async def _read(self) -> bool:
        if await asyncio.to_thread(_digest, self.file) == self._digest:
            return False
        policy = await self._checked()
        if policy.digest == self._digest:
            return False
        await self._use(policy)
        self._digest = policy.digest
        _log.info("policy-loaded", version=policy.digest, rules=len(policy.rules))
        return True

    async def _checked(self) -> Policy:
        """The file's policy: read by a thread, or where it is large by a process. Raises InputError, WorkerError."""
        topology, now = self.topology, self._clock()
        population = len(topology.directory.users) + len(topology.directory.workloads) + len(topology.directory.devices)
        if await asyncio.to_thread(_size, self.file) + population * ENTRY > SMALL:
            return await in_process(checked, self.file, topology, now)
        return await asyncio.to_thread(checked, self.file, topology, now)

    def _keep_old(self, problems: tuple[Problem, ...]) -> None:
        super()._keep_old(problems)
        for problem in problems:
            _log.error("policy-refused", problem=str(problem), in_force=self._digest)
        self._refused(self._digest, "; ".join(str(problem) for problem in problems[:10]))


class DirectoryFile(_WatchedFile):
    """Holds identities.yaml against what is in force.

    All that it has to be is right in itself: whom it lets in and the policy has no place for cannot log in, and whom it
    shuts out must be out, whatever else is wrong.
    """

    def __init__(self, topology: Topology, clock: Callable[[], float]) -> None:
        super().__init__(topology.folder / IDENTITIES_FILE, clock)
        self.use: Callable[[Directory], Awaitable[None]]
        """Puts it in force; set before anything is read."""
        self._text: str | None = None

    async def _read(self) -> bool:
        text = await asyncio.to_thread(read_text, self.file)
        if text == self._text:
            return False
        if not text.strip():  # as it is for a moment when an editor writes it: nobody means to shut everybody out so
            raise InputError([Problem(str(self.file), "expected users, devices or workloads, found an empty file")])
        if len(text) > SMALL:
            directory = await in_process(parse_identities, text, str(self.file))
        else:
            directory = await asyncio.to_thread(parse_identities, text, str(self.file))
        await self.use(directory)
        self._text = text
        _log.info("identities-loaded", users=len(directory.users), workloads=len(directory.workloads))
        return True

    def _keep_old(self, problems: tuple[Problem, ...]) -> None:
        super()._keep_old(problems)
        for problem in problems:
            _log.error("identities-refused", problem=str(problem))


def checked(file: Path, topology: Topology, now: float) -> Policy:
    """The policy of a file, held against the rest. Raises InputError also where its own tests fail."""
    policy = load_policy(file)
    report = topology.check(policy, now)
    failed = (outcome for outcome in report.outcomes if not outcome.passed)
    problems = [*report.errors, *(_problem(policy, outcome) for outcome in failed)]
    if problems:
        raise InputError(problems)
    return policy


def _digest(file: Path) -> str:
    """The SHA-256 of its text, as a policy has it. Raises InputError."""
    return hashlib.sha256(read_text(file).encode()).hexdigest()


def _size(file: Path) -> int:
    """In bytes; 0 for what cannot be looked at: reading it will say why."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _problem(policy: Policy, outcome: Outcome) -> Problem:
    test = outcome.test
    return Problem(policy.file, f"the policy's own test fails: {outcome.text}", test.line, test.column, "tests")
