"""Settings of a running controller, all of them with a default that is safe."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from zethane.adapters.openflow.listener import TlsFiles
from zethane.app.scheduling import NICE
from zethane.service.state import Limits


@dataclass(frozen=True, slots=True)
class ApiTls:
    """Where the API listens beside its unix socket: PEM files, and the CA of the clients that may use it."""

    host: str
    port: int
    certificate: Path
    key: Path
    client_ca: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """What `zethane run` was asked for. `state_dir` holds sockets, store and decision log."""

    topology: Path
    state_dir: Path
    openflow_host: str = "127.0.0.1"
    openflow_port: int = 6653
    openflow_tls: TlsFiles | None = None
    api_tls: ApiTls | None = None
    limits: Limits = field(default_factory=Limits)
    attest_interval: float = 30.0
    conntrack_zones: int = 0
    """In front of a switch's number in network.yaml: the zone of connection tracking that it uses."""
    sources: Path | None = None
    """The sources.yaml in the place of the topology's."""
    nice: int = NICE
    """The nice value that the controller asks for (setpriority(2))."""

    @property
    def api_socket(self) -> Path:
        """The operators' API."""
        return self.state_dir / "api.sock"

    @property
    def portal_socket(self) -> Path:
        """The portal's way to the controller; it leads to nothing else."""
        return self.state_dir / "portal.sock"

    @property
    def store_file(self) -> Path:
        """Sessions and numbers."""
        return self.state_dir / "zethane.sqlite"

    @property
    def enforced_policy(self) -> Path:
        """The text of the policy that was in force last: it stays so under one that is staged."""
        return self.state_dir / "enforced-policy.yaml"

    @property
    def decision_log(self) -> Path:
        """JSON lines."""
        return self.state_dir / "decisions.jsonl"

    @property
    def run_file(self) -> Path:
        """Written when everything listens: pid and addresses."""
        return self.state_dir / "run.json"
