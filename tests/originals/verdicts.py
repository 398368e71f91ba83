"""Asks an imported policy about workloads by their names in the original, and about addresses outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from zethane.convert import Imported
from zethane.policy.decide import decide
from zethane.policy.principal import External, Party, Principal
from zethane.policy.service import OTHER_PROTOCOL, PROTOCOLS, Service


class Verdicts:
    """What an imported policy decides."""

    def __init__(self, imported: Imported, kind: str = "") -> None:
        self.imported = imported
        self._prefix = f"{kind} " if kind else ""

    def party(self, name: str) -> Party:
        """The workload of this name, or the address."""
        try:
            return External(ip_address(name))
        except ValueError:
            workload = self.imported.workloads[self._prefix + name]
            return self.imported.directory.principal("workload", workload, False)

    def may(self, source: str, target: str, ip_proto: int, port: int, addresses: tuple[str, str] = ("", "")) -> bool:
        """Whether the policy allows a flow; between these addresses, where that matters."""
        parties = [self.party(name) for name in (source, target)]
        subject, target_party = (
            replace(party, address=ip_address(address)) if address and isinstance(party, Principal) else party
            for party, address in zip(parties, addresses, strict=True)
        )
        return decide(self.imported.policy, subject, target_party, ip_proto, port).allowed

    def wrong(self, table: str) -> Iterator[str]:
        """The lines of a table that are not so.

        A line is `source -> target: service, service; not service, service`; what begins with # is for readers.
        """
        for line in table.strip().splitlines():
            if not line.strip() or line.strip().startswith("#"):
                continue
            flow, _, verdicts = line.partition(": ")
            source, _, target = (part.strip() for part in flow.partition("->"))
            allowed, _, denied = verdicts.partition("not ")
            for words, expected in ((allowed, True), (denied, False)):
                for word in filter(None, (part.strip(" ;") for part in words.split(","))):
                    service = Service.parse(word)
                    proto = (*PROTOCOLS[service.proto], OTHER_PROTOCOL)[0]
                    if self.may(source, target, proto, service.low) is not expected:
                        yield f"{line.strip()}: {word} is {'denied' if expected else 'allowed'}"
