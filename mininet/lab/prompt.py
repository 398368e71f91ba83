"""Mininet's prompt with Zethane's words: login, logout, revoke, sessions, flows, explain."""

from __future__ import annotations

import shlex
import subprocess

from lab.errors import LabError
from lab.network import LabNetwork
from lab.nodes import CLI
from lab.processes import zethane


class LabPrompt(CLI):  # type: ignore[misc]  # Mininet has no types
    """The prompt. `HOST COMMAND` runs a command in a host, as everywhere in Mininet."""

    prompt = "zethane> "

    def __init__(self, lab: LabNetwork) -> None:
        self._lab = lab
        super().__init__(lab.mininet)

    def do_login(self, line: str) -> None:
        """login HOST: log the host in through the portal, with what network.yaml gives it."""
        for name in line.split() or self._usage("login HOST"):
            try:
                result = self._lab.login(name)
            except (LabError, LookupError) as error:  # noqa: PERF203 - the next host may still do
                print(error)
            else:
                print(f"{name}: {result.principal} in {result.segment}, session {result.session}")

    def do_logout(self, line: str) -> None:
        """logout HOST: end the host's session."""
        for name in line.split() or self._usage("logout HOST"):
            try:
                self._lab.logout(name)
            except (LabError, LookupError) as error:  # noqa: PERF203 - the next host may still do
                print(error)
            else:
                print(f"{name}: logged out")

    def do_revoke(self, line: str) -> None:
        """revoke PRINCIPAL|SESSION …: end sessions, as an operator does."""
        self._zethane("revoke", line)

    def do_sessions(self, line: str) -> None:
        """sessions: who is logged in, and where."""
        self._zethane("sessions", line)

    def do_flows(self, line: str) -> None:
        """flows: the live flows, each with its rule."""
        self._zethane("flows", line)

    def do_explain(self, line: str) -> None:
        """explain FROM TO SERVICE: the decision between two hosts, and why."""
        self._zethane("explain", " ".join(self._address(word) for word in line.split()))

    def _address(self, word: str) -> str:
        """A host's name as the address that the controller knows it by."""
        host = self._lab.hosts.get(word)
        return str(host.addresses[0]) if host else word

    @staticmethod
    def _usage(usage: str) -> list[str]:
        print(f"usage: {usage}")
        return []

    def _zethane(self, command: str, line: str) -> None:
        try:
            words = shlex.split(line)
        except ValueError as error:
            print(f"{command}: {error}")
            return
        try:
            subprocess.run(zethane(command, *words), env=dict(self._lab.environment), timeout=60, check=False)
        except subprocess.TimeoutExpired:
            print(f"zethane {command} did not finish within 60 s")
