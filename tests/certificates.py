"""Certificates for servers of the tests, and a reactor whose servers speak TLS with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

HERE = ("127.0.0.1", "localhost")


@frozen
class Certificate:
    """A certificate, its private key, and the certificates that a server sends with it."""

    itself: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def context(self) -> SSL.Context:
        """For a server that has this certificate."""
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate(self.itself)
        context.use_privatekey(self.key)
        for each in self.chain:
            context.add_extra_chain_cert(each)
        return context

    def write_to(self, path: Path) -> Path:
        """Write it as PEM, without the key."""
        path.write_bytes(self.itself.public_bytes(Encoding.PEM))
        return path

    def write_into(self, folder: Path) -> None:
        """Write it under the name by which OpenSSL finds an authority in a folder."""
        digest = crypto.X509.from_cryptography(self.itself).subject_name_hash()
        self.write_to(folder / f"{digest:08x}.0")


def issued(
    names: Sequence[str] = HERE,
    issuer: Certificate | None = None,
    *,
    days: tuple[int, int] = (-1, 1),
    sends_issuer: bool = False,
) -> Certificate:
    """A certificate for host names and addresses; without an `issuer` it is self-signed.

    `days`: from when until when it is valid, in days from now. Without `names` it is an authority.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {serial}")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.itself.subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(not names, None), critical=True)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName(list(map(_name, names))), critical=False
        )
    certificate = builder.sign(key if issuer is None else issuer.key, hashes.SHA256())
    chain = (issuer.itself,) if issuer is not None and sends_issuer else ()
    return Certificate(certificate, key, chain)


def authority() -> Certificate:
    return issued(())


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class TLSReactor:
    """A reactor whose listenTCP makes servers that speak TLS."""

    def __init__(self, reactor: Any, certificate: Certificate) -> None:
        self._reactor = reactor
        self._certificate = certificate
        self.names: list[bytes | None] = []
        """The server name that each connection asked for (SNI)."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, **more: Any) -> Any:
        context = self._certificate.context
        context.set_tlsext_servername_callback(
            lambda connection: self.names.append(connection.get_servername())
        )
        wrapped: Any = TLSMemoryBIOFactory(_Connections(context), False, factory)
        # FakeOllama closes its connections by this.
        wrapped.abort_all = getattr(factory, "abort_all", None)
        return self._reactor.listenTCP(port, wrapped, **more)


@implementer(IOpenSSLServerConnectionCreator)
@frozen
class _Connections:
    context: SSL.Context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return SSL.Connection(self.context, None)
