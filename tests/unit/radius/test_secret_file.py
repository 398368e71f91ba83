"""Secrets in files, and what is said about those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from zethane.app.secret_file import secret_of
from zethane.errors import InputError
from zethane.identity.sources.radius import RadiusServer

SOURCES = """\
radius:
  servers:
    lab: {host: 127.0.0.1, secret_file: lab.secret}
"""
SERVER = RadiusServer.model_validate({"host": "127.0.0.1", "secret_file": "lab.secret"})
PATH = ("radius", "servers", "lab")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "sources.yaml").write_text(SOURCES, encoding="utf-8")
    return tmp_path / "sources.yaml"


@pytest.mark.parametrize(
    ("content", "secret"),
    [("secret", b"secret"), ("secret\n", b"secret"), ("secret\r\n", b"secret"), ("a b\n\n", b"a b\n")],
)
def test_the_file_holds_the_secret_and_nothing_else(sources: Path, content: str, secret: bytes) -> None:
    (sources.parent / "lab.secret").write_text(content, encoding="utf-8", newline="")
    assert secret_of(SERVER, sources.parent, str(sources), *PATH) == secret


@pytest.mark.parametrize("content", [None, "", "\n", "x" * 1025])
def test_what_is_no_secret_is_an_error_at_its_place_that_does_not_repeat_it(sources: Path, content: str | None) -> None:
    if content is not None:
        (sources.parent / "lab.secret").write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        secret_of(SERVER, sources.parent, str(sources), *PATH)
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.key) == (str(sources), 3, "radius.servers.lab.secret_file")
    assert "xxx" not in str(problem)


def test_a_secret_in_the_section_is_taken_as_it_is(sources: Path) -> None:
    server = RadiusServer.model_validate({"host": "127.0.0.1", "secret": "s3cret"})
    assert secret_of(server, sources.parent, str(sources), *PATH) == b"s3cret"
