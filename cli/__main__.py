"""`python -m cli` is the same as `logwax`."""

from cli.main import app

app(prog_name="logwax")
