"""Who may talk to a bridge that listens on the loopback interface."""

from __future__ import annotations

import ipaddress
import socket

LOCAL_SUFFIXES = (".localhost", ".local", ".internal")


def is_loopback(interface: str) -> bool:
    """Whether only this machine can reach `interface`."""
    try:
        return ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return interface == "localhost"


def host_allowed(host: str) -> bool:
    """Whether a Host header names this machine, by the rule that Ollama has.

    A web page whose name was pointed at 127.0.0.1 sends its own name; the bridge must refuse
    that itself, because it talks to Ollama under Ollama's address.
    """
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        # More than one colon is an IPv6 address without a port.
        name = host.partition(":")[0] if host.count(":") == 1 else host
    name = name.rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        local = {"", "localhost", socket.gethostname().lower()}
        return name in local or name.endswith(LOCAL_SUFFIXES)
    return address.is_loopback or address.is_private or address.is_unspecified
