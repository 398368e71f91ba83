"""`python -m attack`."""

from attack.command import app

app(prog_name="./run attack")
