"""Secrets that sources.yaml holds itself or names a file for."""

from __future__ import annotations

from pathlib import Path

from zethane.app.files import read_text
from zethane.app.sources_problem import sources_error
from zethane.errors import InputError
from zethane.identity.sources.common import WithSecret

MAX_SECRET = 1024
"""Bytes."""


def secret_of(section: WithSecret, folder: Path, file: str, *path: str) -> bytes:
    """The secret of a section. `folder` is where its file's name begins; `path` is the section's in the sources `file`.

    One newline at the end of the file is not the secret's. Raises InputError.
    """
    if section.secret is not None:
        return section.secret.get_secret_value().encode()
    name = section.secret_file or ""
    try:
        text = read_text(folder / name)
    except InputError as error:
        raise sources_error(file, str(error), *path, "secret_file") from None
    secret = text.removesuffix("\n").removesuffix("\r").encode()
    if not 0 < len(secret) <= MAX_SECRET:
        raise sources_error(file, f"expected 1 to {MAX_SECRET} bytes in {name}", *path, "secret_file")
    return secret
