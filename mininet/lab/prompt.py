"""Mininet's prompt with Zethane's words: login, logout, revoke, sessions, flows, explain."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from lab.errors import LabError
from lab.network import LabNetwork
from lab.nodes import CLI
from lab.processes import zethane
from lab.tables import flows_table, sessions_table

SHOWN = 50
"""Flows that the prompt shows; `flows --limit N` shows more."""

_HELP = """\
Zethane's own (HOST is a name in network.yaml, or an address):
  login HOST …            log hosts in, with what network.yaml gives them
  logout HOST …           end their sessions
  revoke WHO …            end sessions as an operator does: HOST, user:NAME, workload:NAME, NAME or a number
  sessions                who is logged in, and where
  flows                   live flows, each with its rule
  explain FROM TO SERVICE the decision between two hosts, and why: explain laptop web1 tcp/443

HOST COMMAND runs a command in a host: laptop ping -c1 web1
Mininet's own, such as nodes, net and link: help --all. Ctrl-D or exit takes the lab down.
"""


class LabPrompt(CLI):  # type: ignore[misc]  # Mininet has no types
    """The prompt. `HOST COMMAND` runs a command in a host, as everywhere in Mininet."""

    prompt = "zethane> "

    def __init__(self, lab: LabNetwork) -> None:
        self._lab = lab
        self._names = {str(ip): name for name, host in (lab.hosts | lab.outside).items() for ip in host.addresses}
        self._console = Console()
        super().__init__(lab.mininet)

    def do_help(self, line: str) -> None:
        """help [COMMAND|--all]: what can be done here."""
        if line.strip():
            super().do_help("" if line.strip() == "--all" else line)
        else:
            print(_HELP, end="")

    def do_login(self, line: str) -> None:
        """login HOST …: log hosts in through the portal, with what network.yaml gives them."""

        def one(name: str) -> str:
            result = self._lab.login(name, print)
            return f"{name}: {result.principal} in {result.segment}, session {result.session}"

        self._for_hosts("login HOST …", line, one)

    def do_logout(self, line: str) -> None:
        """logout HOST …: end the sessions of hosts."""

        def one(name: str) -> str:
            self._lab.logout(name)
            return f"{name}: logged out"

        self._for_hosts("logout HOST …", line, one)

    def _for_hosts(self, usage: str, line: str, act: Callable[[str], str]) -> None:
        """Do it for every host that is named, and say what came of it."""
        for word in line.split() or self._usage(usage):
            try:
                print(act(self._names.get(word, word)))
            except (LabError, LookupError) as error:  # noqa: PERF203 - the next host may still do
                print(error)

    def do_revoke(self, line: str) -> None:
        """revoke HOST|PRINCIPAL|SESSION …: end sessions, as an operator does."""
        for word in line.split() or self._usage("revoke HOST|PRINCIPAL|SESSION …"):
            if word in self._lab.hosts and not self._is_logged_in(word):
                print(f"{word}: not logged in")
            else:
                self._zethane("revoke", [self._address(word)])

    def do_sessions(self, line: str) -> None:
        """sessions: who is logged in, and where. With options: zethane sessions."""
        if line.strip():
            self._zethane("sessions", line.split())
        elif (told := self._ask("/sessions", "sessions")) is not None:
            self._console.print(sessions_table(told, self._names) if told else "Nobody is logged in.")

    def do_flows(self, line: str) -> None:
        """flows: the newest live flows, each with its rule. With options: zethane flows."""
        if line.strip():
            self._zethane("flows", line.split())
        elif (told := self._ask(f"/flows?limit={SHOWN}", "flows")) is not None:
            self._console.print(flows_table(told, self._names) if told else "No flow is live.")

    def do_explain(self, line: str) -> None:
        """explain FROM TO SERVICE: the decision between two hosts, and why."""
        words = line.split()
        if len(words) != 3:
            self._usage("explain FROM TO SERVICE, such as: explain laptop web1 tcp/443")
        else:
            self._zethane("explain", [self._address(word) for word in words])

    def _is_logged_in(self, host: str) -> bool:
        own = {str(address) for address in self._lab.hosts[host].addresses}
        return any(own.intersection(session["addresses"]) for session in self._ask("/sessions", "sessions") or ())

    def _ask(self, path: str, key: str) -> list[dict[str, Any]] | None:
        """A list of the controller's API; None, with the reason said, if there is no answer."""
        if self._lab.controller is None:
            print("no controller runs here")
            return None
        try:
            found: list[dict[str, Any]] = self._lab.controller.get(path)[key]
        except LabError as error:
            print(error)
            return None
        return found

    def _address(self, word: str) -> str:
        """A host's name as the address that the controller knows it by."""
        host = self._lab.hosts.get(word) or self._lab.outside.get(word)
        return str(host.addresses[0]) if host else word

    @staticmethod
    def _usage(usage: str) -> list[str]:
        print(f"usage: {usage}")
        return []

    def _zethane(self, command: str, words: Sequence[str]) -> None:
        if self._lab.controller is None:
            print("no controller runs here")
            return
        try:
            subprocess.run(zethane(command, *words), env=dict(self._lab.environment), timeout=60, check=False)
        except subprocess.TimeoutExpired:
            print(f"zethane {command} did not finish within 60 s")
