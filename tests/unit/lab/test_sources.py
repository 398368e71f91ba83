"""The sources.yaml that the lab writes for a run."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from lab.sources import RunSources
from zethane.app.topology import load_topology
from zethane.network.model import Login

POLICY = "version: 1\nsegments: {web: {labels: {tier: web}}}\n"
IDENTITIES = 'workloads: {web: {labels: {tier: web}, spiffe: "spiffe://lab/web", dns: web.lab}}\n'
NETWORK = """
switches: {s1: {}}
hosts: {web: {switch: s1, ip: 10.0.0.1/24, login: {workload: web, via: certificate}}}
"""
SOURCES = """
certificates: {ca: [/etc/site/ca.pem], trust_domain: lab}
radius: {servers: {site: {host: 10.9.9.9, secret: "kept:out"}}, timeout: 2s}
sessions: {segments: {web: {idle: 15m}}}
"""


def topology(folder: Path) -> Path:
    for name, text in (("policy", POLICY), ("identities", IDENTITIES), ("network", NETWORK), ("sources", SOURCES)):
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_a_run_has_its_own_authority_and_keeps_everything_else(tmp_path: Path) -> None:
    folder = topology(tmp_path)
    run = RunSources(load_topology(folder), tmp_path / "run", {})
    assert run.needed
    file = run.start(lambda _: None)
    settings = load_topology(folder, file).sources.settings
    assert run.authority is not None
    assert settings.certificates is not None
    assert settings.certificates.ca == (str(run.authority.certificate),)
    assert settings.certificates.trust_domain == "lab"
    assert settings.radius is not None
    assert settings.radius.timeout == "2s"
    assert settings.radius.servers["site"].secret is not None
    assert settings.radius.servers["site"].secret.get_secret_value() == "kept:out"
    assert settings.sessions.segments["web"].idle == "15m"
    assert file.stat().st_mode & 0o077 == 0
    run.stop()


def test_a_certificate_has_the_names_that_the_identities_know(tmp_path: Path) -> None:
    run = RunSources(load_topology(topology(tmp_path)), tmp_path / "run", {})
    run.start(lambda _: None)
    login = Login("workload", "web", via="certificate")
    issued = run.certificate(login)
    assert issued == run.certificate(login)
    shown = x509.load_pem_x509_certificate(issued.certificate.read_bytes())
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://lab/web"]
    assert names.get_values_for_type(x509.DNSName) == ["web.lab"]


def test_hosts_of_the_embedded_provider_need_nobody_else(tmp_path: Path) -> None:
    folder = topology(tmp_path)
    (folder / "network.yaml").write_text("switches: {s1: {}}\n", encoding="utf-8")
    assert not RunSources(load_topology(folder), tmp_path / "run", {}).needed
