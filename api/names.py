"""Names that lead to this machine."""

from __future__ import annotations

from ipaddress import ip_address


def is_of_this_machine(name: str) -> bool:
    """Whether a name or an address leads to the machine itself, whoever says so."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761, 6.3
