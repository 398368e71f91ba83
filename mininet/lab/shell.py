"""Commands of the machine, with a time limit and an error that says what was run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from lab.errors import LabError

TIMEOUT = 30.0


def run(
    command: Sequence[str],
    *,
    text_in: str | None = None,
    timeout: float = TIMEOUT,
    env: Mapping[str, str] | None = None,
) -> str:
    """Standard output of a command. Raises LabError if it fails, is missing, or takes over `timeout` seconds.

    It runs in a session of its own: Ctrl-C at the terminal is for the lab, which finishes its step first.
    """
    try:
        done = subprocess.run(
            list(command),
            input=text_in,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=env,
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError:
        raise LabError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{command[0]} did not finish within {timeout:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise LabError(f"{' '.join(command[:3])} … failed with status {done.returncode}: {said}")
    return done.stdout
