"""Which policy is enforced and which is only staged, over restarts: the text of the enforced one is kept."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from zethane.app.files import read_text
from zethane.errors import InputError, Problem
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy, Rule
from zethane.policy.stage import Staging, compose

PIECE = 128
"""Rules that are let go of at once: some 0.05 ms."""

_log = structlog.get_logger("zethane.policy")


class Stages:
    """Knows the policy that was enforced last, from this run or an earlier one."""

    def __init__(self, file: Path, *, was_enforced: bool = False) -> None:
        """`file` is where its text is kept; `was_enforced` tells whether rules were ever in force, by another source.

        A file that cannot be read as a policy matters only where one is staged: `compose` says what is wrong.
        """
        self._file = file
        self._was_enforced = was_enforced
        self._before: Policy | None = None
        self._wrong: InputError | None = None
        try:
            self._before = _read(file) if file.exists() else None
        except InputError as error:
            self._wrong = error

    def compose(self, policy: Policy) -> Staging:
        """What becomes of a policy that is to be put in force.

        Raises InputError where it is staged and what was in force before it is lost, or cannot be read as a policy:
        that must not open everything. Where nothing rests on what was in force before, it does not matter.
        """
        if policy.stage == "audit" and self._wrong is not None:
            raise self._wrong
        if policy.stage == "audit" and self._before is None and self._was_enforced:
            message = "missing: a policy was in force before the one that is staged; put here what is to stay in force"
            raise InputError([Problem(str(self._file), message)])
        return compose(policy, self._before)

    def took_effect(self, policy: Policy) -> None:
        """A policy has been loaded: unless it is staged, it is what stays in force if the next one is.

        Its text is kept. Where the disk refuses, that is logged: the one of before would be back in force after a
        restart with a policy that is staged, and after no other restart.
        """
        if policy.stage == "audit":
            return
        before, self._before, self._wrong = self._before, policy, None
        if before is not None and before is not policy:
            left = [*before.rules]
            del before
            _let_go(left)
        fresh = self._file.with_suffix(".new")
        try:
            with open(fresh, "w", encoding="utf-8", opener=_private) as stream:
                stream.write(policy.text)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(self._file)
        except OSError as error:
            _log.error("policy-not-kept", file=str(self._file), reason=error.strerror or str(error))


def _let_go(rules: list[Rule]) -> None:
    """Of ten thousand rules at once that would hold the interpreter's lock for milliseconds."""
    while rules:
        del rules[-PIECE:]


def tell(staging: Staging) -> None:
    """Say in the controller's own log what is staged."""
    if staging.staged is not None:
        _log.warning("policy-staged" if staging.whole else "rules-staged", **staging.view(), detail=staging.detail)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(file: Path) -> Policy:
    """The policy that was kept. A damaged one must not count as none: then everything would pass."""
    try:
        return parse_policy(read_text(file), str(file))
    except InputError as error:
        first = error.problems[0]
        message = (
            "the policy that was in force last, and stays so under one that is staged, cannot be read; "
            f"put here what is to stay in force: {first.message}"
        )
        raise InputError([Problem(str(file), message, first.line, first.column, first.key)]) from None
