"""What docs/identity/workloads.md says to do with openssl makes what is accepted here."""

from __future__ import annotations

import re
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from zethane.adapters.trust_files import TrustFiles
from zethane.identity.certificates import CertificateError, accept
from zethane.identity.sources.certificates import Certificates

PAGE = Path(__file__).parents[3] / "docs" / "identity" / "workloads.md"


def run(folder: Path, script: str) -> None:
    done = subprocess.run(
        ["sh", "-e"], input=script, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_documented_authority_certificate_and_list_work(tmp_path: Path) -> None:
    found = re.search(r"### openssl\n.*?```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    run(tmp_path, found[1])
    files = TrustFiles(Certificates(ca=("ca.pem",), crl=("ca.crl",), trust_domain="example.org"), tmp_path)
    trust = files.load()
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "web1.pem").read_text(encoding="ascii"))
    accepted = accept([der], trust, time.time())
    assert accepted.names == ("spiffe://example.org/web1",)
    assert accepted.authority == "CN=Workloads,O=Example"
    renew = "openssl ca -config ca.cnf -gencrl -crldays 2 -out new.crl\nmv new.crl ca.crl"
    run(tmp_path, f"openssl ca -config ca.cnf -revoke web1.pem\n{renew}")
    with pytest.raises(CertificateError, match="revoked"):
        accept([der], files.load(trust), time.time())
