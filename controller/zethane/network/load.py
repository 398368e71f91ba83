"""network.yaml to a Network: every part held against the others, all problems at once."""

from __future__ import annotations

from zethane.document import Document, parse
from zethane.network.build import Builder
from zethane.network.model import Network
from zethane.network.schema import NetworkFile


def parse_network(text: str, file: str) -> Network:
    """The network that `text`, the content of `file`, describes. Raises InputError with all problems."""
    document: Document[NetworkFile] = parse(text, file, NetworkFile)
    builder = Builder(document)
    network = builder.build()
    builder.findings.raise_any()
    return network
