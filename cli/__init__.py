"""The `logwax` command."""
