"""Who may use the bridge, by the Host header, the Origin header and the key.

All of it is decided from a request's head, before any of its body is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket

from attrs import field, frozen
from twisted.web.http_headers import Headers

from codex_bridge.errors import ApiError, invalid
from codex_bridge.settings import Settings
from codex_bridge.text import printable
from codex_bridge.web.origins import Origins, is_preflight
from codex_bridge.web.route import Route, RouteKind

LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
"""Ends of names that no public name server knows."""
ANY = "*"
KEY_HEADERS = frozenset({b"authorization", b"x-api-key"})
"""Where a client may put the key."""


@frozen
class Access:
    """What one bridge demands of a request."""

    checks_hosts: bool
    hosts: frozenset[str]
    """Names that are accepted besides those of this machine."""
    origins: Origins
    key: bytes | None = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """What `settings` ask for."""
        return cls(
            # Ollama has the same rule: a user who opens the port to others may use any name.
            is_loopback(settings.interface) or bool(settings.allow_host),
            frozenset(settings.allow_host),
            Origins(settings.allow_origin),
            None if settings.api_key is None else settings.api_key.encode(),
        )

    def refusal(self, route: Route, headers: Headers) -> ApiError | None:
        """Why a request with this head is not served; None if it is.

        Ollama itself judges the Origin of a request that passes through to it.
        """
        if route.method == b"CONNECT":
            return invalid("codex-bridge is no proxy: CONNECT is not supported.", code="no_proxy")
        if refusal := self._host_refusal(headers):
            return refusal
        if route.is_of_responses:
            if refusal := self.origins.refusal(headers):
                return refusal
            if is_preflight(route.method, headers):
                # Browsers send it without any key, and it does nothing.
                return None
        return None if route.kind is RouteKind.HEALTH else self._key_refusal(headers)

    def _host_refusal(self, headers: Headers) -> ApiError | None:
        host = (headers.getRawHeaders(b"host") or [b""])[-1].decode("latin-1")
        if not self.checks_hosts or ANY in self.hosts:
            return None
        if host_allowed(host) or host_name(host) in self.hosts:
            return None
        return ApiError(
            403,
            f"{printable(host)} is not this machine's name; use localhost, or start codex-bridge "
            f"with --allow-host.",
            code="foreign_host",
        )

    def _key_refusal(self, headers: Headers) -> ApiError | None:
        if self.key is None:
            return None
        keys = sent_keys(headers)
        # In constant time: the time must not tell how much of a guessed key is right.
        comparisons = [hmac.compare_digest(key, self.key) for key in keys]
        if any(comparisons):
            return None
        return ApiError(
            401,
            f"This codex-bridge asks for an API key, and the request has "
            f"{'another one' if keys else 'none'}. Send it as Authorization: Bearer KEY; in "
            f"Codex's config.toml, env_key of the provider names the variable that holds it.",
            code="invalid_api_key",
        )


def sent_keys(headers: Headers) -> list[bytes]:
    """The keys that a client sent."""
    keys = [*headers.getRawHeaders(b"x-api-key", [])]
    for value in headers.getRawHeaders(b"authorization", []):
        scheme, _, credentials = value.partition(b" ")
        if scheme.lower() == b"bearer":
            keys.append(credentials.strip())
    return keys


def owner_of(headers: Headers) -> str:
    """Whose responses a client may see: a digest of the keys that it sent; "" without a key."""
    keys = set(filter(None, sent_keys(headers)))
    return hashlib.sha256(b"\n".join(sorted(keys))).hexdigest() if keys else ""


def is_loopback(interface: str) -> bool:
    """Whether only this machine can reach `interface`."""
    try:
        address = ipaddress.ip_address(interface)
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.gethostbyname(interface))
        except OSError:
            return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def host_name(host: str) -> str:
    """The name in a Host header: in lower case, without port and final dot."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        if rest and not rest.startswith(":"):
            return host
    else:
        # More than one colon is an IPv6 address without a port.
        name = host.partition(":")[0] if host.count(":") == 1 else host
    return name.removesuffix(".").lower()


def host_allowed(host: str) -> bool:
    """Whether a Host header names this machine, by the rule that Ollama has.

    A web page can have its own name resolve to 127.0.0.1; its visitor's browser then sends that
    name as Host. Ollama would refuse it but never sees it: the bridge sends Ollama's own name.
    """
    name = host_name(host)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        local = {"", "localhost", socket.gethostname().lower()}
        return name in local or name.endswith(LOCAL_SUFFIXES)
    return address.is_loopback or address.is_private or address.is_unspecified
