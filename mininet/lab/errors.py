"""What can go wrong in the lab, apart from errors in a topology's files."""

from __future__ import annotations


class LabError(Exception):
    """The lab cannot go on. The message is for the person who started it."""


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived. Not an Exception: nothing between here and the clean-up may catch it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
