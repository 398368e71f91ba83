"""Which policy is enforced and which is only staged, over restarts: the text of the enforced one is kept."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from zethane.app.files import read_text
from zethane.errors import InputError, Problem
from zethane.policy.load import parse_policy
from zethane.policy.model import Policy
from zethane.policy.stage import Staging, compose

_log = structlog.get_logger("zethane.policy")


class Stages:
    """Knows the policy that was enforced last, from this run or an earlier one."""

    def __init__(self, file: Path) -> None:
        """`file` is where its text is kept. Raises InputError for one that cannot be read as a policy."""
        self._file = file
        self._before = _read(file) if file.exists() else None

    def compose(self, policy: Policy) -> Staging:
        """What becomes of a policy that is to be put in force."""
        return compose(policy, self._before)

    def took_effect(self, policy: Policy) -> None:
        """A policy has been loaded: unless it is staged, it is what stays in force if the next one is.

        Its text is kept. Where the disk refuses, that is logged: the one of before would be back in force after a
        restart with a policy that is staged, and after no other restart.
        """
        if policy.stage == "audit":
            return
        self._before = policy
        fresh = self._file.with_suffix(".new")
        try:
            with open(fresh, "w", encoding="utf-8", opener=_private) as stream:
                stream.write(policy.text)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.replace(self._file)
        except OSError as error:
            _log.error("policy-not-kept", file=str(self._file), reason=error.strerror or str(error))


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
            "the policy that was in force last cannot be read any more, and decides while another one is staged; "
            f"remove this file if none of it is to stay in force: {first.message}"
        )
        raise InputError([Problem(str(file), message, first.line, first.column, first.key)]) from None
