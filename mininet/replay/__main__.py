"""`python -m replay`."""

from replay.command import app

app()
