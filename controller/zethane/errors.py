"""Every exception that Zethane raises on purpose.

ZethaneError
├── InputError        a file or an argument is wrong; carries one Problem per finding; exit status 2
├── ExpressionError   an expression in a policy is wrong; becomes a Problem of an InputError
├── SessionError      a session cannot be started, changed or found
│   ├── AddressInUse  another live session, or the network itself, holds the address
│   └── PortRefusal   the port, its VLAN or its limits do not allow it; carries the reason for the decision log
├── AuthenticationError  a proof of identity was refused
├── SourceError       a system outside that vouches for others did not answer, or not as it should
├── ChannelError      an OpenFlow peer broke the protocol, or a request to it failed
└── CapacityError     a bound was reached; the request is refused, nothing else suffers
"""

from __future__ import annotations

from dataclasses import dataclass


class ZethaneError(Exception):
    """Base of all errors that Zethane raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in an input: where it is and what was expected instead.

    Lines and columns count from 1; None where the input has no such place (a missing file).
    """

    file: str
    message: str
    line: int | None = None
    column: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class InputError(ZethaneError):
    """An input is wrong. Nothing that was in force before is replaced."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ExpressionError(ZethaneError):
    """A text is no expression, or refers to what there is not; the message begins with line and column in the text."""


class SessionError(ZethaneError):
    """A session cannot be started, changed or found."""


class AddressInUse(SessionError):  # noqa: N818  # says what is the case, as the standard library's own do
    """Another live session, or the network itself, holds the address that this one claims."""


class Refusal(SessionError):  # noqa: N818  # says what happened
    """A session or an address is not allowed; `reason` is the word for it in the decision log."""

    def __init__(self, message: str, reason: str) -> None:
        self.reason = reason
        super().__init__(message)


class PortRefusal(Refusal):
    """The port does not allow this session or address."""


class AccountRefusal(Refusal):
    """The account may have no session now, however it has proved itself; `reason` is a `LoginRefusal`."""


class AuthenticationError(ZethaneError):
    """A proof of identity was refused. The message never says which part was wrong."""


class SourceError(ZethaneError):
    """A system outside that vouches for others did not answer, or not as it should."""


class ChannelError(ZethaneError):
    """An OpenFlow peer broke the protocol, or a request to it failed."""


class CapacityError(ZethaneError):
    """A bound was reached: the request is refused and nothing else suffers."""
