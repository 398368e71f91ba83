"""`python -m lab`."""

from lab.command import app

app(prog_name="./run lab")
