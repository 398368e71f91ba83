"""Standard output as tables need it."""

from __future__ import annotations

from rich.console import Console

WIDTH = 200
"""Columns where the output is no terminal: nothing is cut or wrapped in a file, or for another program."""


def wide_console(width: int = WIDTH) -> Console:
    """As wide as the terminal; where there is none, as wide as a table may become."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=width)
