"""Problems that show only when sources.yaml is put to use, with the place in the file all the same."""

from __future__ import annotations

from pathlib import Path

from zethane.app.files import read_text
from zethane.document import Document
from zethane.document.compose import compose
from zethane.document.node import dotted
from zethane.errors import InputError, Problem
from zethane.identity.sources.file import SourcesFile


def sources_error(file: str, message: str, *path: str) -> InputError:
    """An error at the value at `path` of sources.yaml; without a line if the file has gone meanwhile."""
    try:
        document = Document(SourcesFile(), file, compose(read_text(Path(file)), file))
    except InputError:
        return InputError([Problem(file, message, key=dotted(path))])
    return InputError([document.problem(message, *path)])
