"""Secrets that sources.yaml holds itself or names a file for."""

from __future__ import annotations

from pathlib import Path

from zethane.app.files import read_text
from zethane.errors import InputError, Problem
from zethane.identity.sources.common import WithSecret

MAX_SECRET = 1024
"""Bytes."""


def secret_of(section: WithSecret, folder: Path, file: str, key: str) -> bytes:
    """The secret of a section. `folder` is where its file's name begins; `file` and `key` are where it is named.

    One newline at the end of the file is not the secret's. Raises InputError.
    """
    if section.secret is not None:
        return section.secret.get_secret_value().encode()
    name = section.secret_file or ""
    try:
        text = read_text(folder / name)
    except InputError as error:
        raise InputError([Problem(file, str(error), key=f"{key}.secret_file")]) from None
    secret = text.removesuffix("\n").removesuffix("\r").encode()
    if not 0 < len(secret) <= MAX_SECRET:
        message = f"expected 1 to {MAX_SECRET} bytes in {name}"
        raise InputError([Problem(file, message, key=f"{key}.secret_file")])
    return secret
