"""sources.yaml as a whole. Without the file there is the embedded provider, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field

from zethane.document import Document, Findings, Model, closest, parse
from zethane.identity.sources.certificates import Certificates, Ovsdb
from zethane.identity.sources.common import SourceName
from zethane.identity.sources.oidc import OpenIdProvider
from zethane.identity.sources.radius import Dot1x, Radius
from zethane.identity.sources.signals import Reporter, SignalsListener, Transmitter
from zethane.identity.sources.times import SessionTimes

MAX_SOURCES = 64
EMBEDDED = "embedded"
"""The embedded provider, where a source is named."""


class SourcesFile(Model):
    """All of sources.yaml; every section may be left out."""

    radius: Radius | None = None
    dot1x: Dot1x = Dot1x()
    oidc: dict[SourceName, OpenIdProvider] = Field(default_factory=dict, max_length=MAX_SOURCES)
    certificates: Certificates | None = None
    ovsdb: dict[SourceName, Ovsdb] = Field(default_factory=dict, max_length=MAX_SOURCES)
    listen: SignalsListener | None = None
    signals: dict[SourceName, Transmitter] = Field(default_factory=dict, max_length=MAX_SOURCES)
    posture: dict[SourceName, Reporter] = Field(default_factory=dict, max_length=MAX_SOURCES)
    sessions: SessionTimes = SessionTimes()


@dataclass(frozen=True, slots=True)
class Sources:
    """A file that makes sense. `file` names it in problems; empty: there is none."""

    settings: SourcesFile = field(default_factory=SourcesFile)
    file: str = ""


def parse_sources(text: str, file: str) -> Sources:
    """The sources in `text`; `file` only names it in problems. Raises InputError with all that is wrong."""
    document = parse(text, file, SourcesFile)
    findings = Findings(document)
    _check(document, findings)
    findings.raise_any()
    return Sources(document.value, file)


def _check(document: Document[SourcesFile], findings: Findings) -> None:
    """What no single key can say."""
    settings = document.value
    if (settings.signals or settings.posture) and settings.listen is None:
        section = "signals" if settings.signals else "posture"
        findings.add("expected a section `listen` as well: where else should it be told?", section, key=True)
    for name, transmitter in settings.signals.items():
        if transmitter.subjects != EMBEDDED and transmitter.subjects not in settings.oidc:
            expected = f"expected {EMBEDDED}, or an entry of `oidc`{closest(transmitter.subjects, settings.oidc)}"
            findings.add(expected, "signals", name, "subjects")
    tokens: dict[str, str] = {}
    sections: tuple[tuple[str, Mapping[str, Transmitter | Reporter]], ...] = (
        ("signals", settings.signals),
        ("posture", settings.posture),
    )
    for section, entries in sections:
        for name, entry in entries.items():
            other = tokens.setdefault(entry.token.get_secret_value(), f"{section}.{name}")
            if other != f"{section}.{name}":
                findings.add(f"expected a token of its own: {other} has this one", section, name, "token")
