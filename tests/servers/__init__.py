"""Servers for tests: real engines behind the protocols that Logwax speaks."""
