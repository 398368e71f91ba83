"""Names of what a run makes on the machine, so that runs never meet.

Linux allows 15 characters for an interface (IFNAMSIZ). A run has an identifier of four: its bridges are
`ID-SWITCH`, the bridges' ports `IDpSWITCHNUMBER-PORT` and the hosts' ends, until they are inside their
namespace, `IDhNUMBER`. A legacy switch is the bridge `IDlSWITCHNUMBER-PORT`, by where it is plugged in; its trunk is
`IDtSWITCHNUMBER-PORT`, its other ports `IDaNUMBER`. What follows the identifier keeps them all apart.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

MAX_INTERFACE = 15
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
RUN_ID = re.compile(rf"^z[{_ALPHABET}]{{3}}$")


def new_run_id() -> str:
    """A random identifier, `z` and three characters that are not mistaken for others."""
    return "z" + "".join(secrets.choice(_ALPHABET) for _ in range(3))


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one run."""

    run: str

    def bridge(self, switch: str, number: int) -> str:
        """The bridge of a switch: with its name if that fits, with its number otherwise."""
        name = f"{self.run}-{switch}"
        # A switch may itself be called s3: a number is told from a name by the second hyphen.
        return name if len(name) <= MAX_INTERFACE else f"{self.run}--{number}"

    def port(self, number: int, port: int) -> str:
        """The bridge's end of the link at a port of switch `number`."""
        return f"{self.run}p{number}-{port}"

    def legacy(self, number: int, port: int) -> str:
        """The bridge of the legacy switch at a port of switch `number`."""
        return f"{self.run}l{number}-{port}"

    def legacy_trunk(self, number: int, port: int) -> str:
        """A legacy switch's end of the link to that port."""
        return f"{self.run}t{number}-{port}"

    def access(self, position: int) -> str:
        """A legacy switch's end of the link to a host."""
        return f"{self.run}a{position}"

    def host(self, position: int) -> str:
        """The host's end before it is moved into the namespace and becomes eth0."""
        return f"{self.run}h{position}"
