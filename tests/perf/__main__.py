"""`python -m perf`."""

from perf.command import app

app(prog_name="./run bench")
