"""TLS to the upstream: whose certificates are trusted, and what is wrong with one that is not."""

from __future__ import annotations

import ipaddress
from typing import Any

from attrs import field, frozen
from OpenSSL import SSL
from OpenSSL.crypto import X509
from OpenSSL.SSL import X509VerificationCodes as Codes
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.python.failure import Failure
from zope.interface import implementer

SPEAKS_TLS = "it speaks TLS; let --upstream-url begin with https://"
SPEAKS_NO_TLS = "it speaks no TLS; let --upstream-url begin with http://"
TO_TRUST_IT = (
    "; to trust it, name the file with the certificate of its authority in SSL_CERT_FILE where "
    "the bridge runs"
)
UNKNOWN_ISSUER = "its issuer is unknown to this machine" + TO_TRUST_IT
FAULTS: dict[int, str] = {
    Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate" + TO_TRUST_IT,
    Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: "self-signed certificate in its chain" + TO_TRUST_IT,
    Codes.ERR_UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_ISSUER,
    Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_ISSUER,
    Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_ISSUER,
    Codes.ERR_CERT_HAS_EXPIRED: "it has expired",
    Codes.ERR_CERT_NOT_YET_VALID: "it is not valid yet by the clock of this machine",
    Codes.ERR_HOSTNAME_MISMATCH: "it is for other names than that in --upstream-url",
    Codes.ERR_IP_ADDRESS_MISMATCH: "it is for other names than the address in --upstream-url",
}
"""Code of an X.509 verification error, as OpenSSL numbers them -> what is wrong."""


class UntrustedCertificateError(Exception):
    """The certificate of a server is not trusted; the text says why."""


def untrusted(code: int) -> str:
    """Why a certificate is not trusted, by OpenSSL's code of the verification error."""
    fault = FAULTS.get(code, f"error {code} of OpenSSL's certificate verification")
    return f"its TLS certificate is not trusted: {fault}"


def is_plain(error: BaseException) -> bool:
    """Whether a TLS handshake failed because what came back is not TLS."""
    return isinstance(error, SSL.Error) and "wrong version number" in reasons(error)


def reasons(error: SSL.Error) -> list[str]:
    """OpenSSL's words in an error: it keeps a list of (library, function, reason)."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return [str(entry[-1]) for entry in entries]


def _options() -> CertificateOptions:
    """Trusts the system's authorities, or those that SSL_CERT_FILE and SSL_CERT_DIR name."""
    return CertificateOptions(trustRoot=platformTrust())


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class ClientTLS:
    """TLS connections to `host`, a DNS name or an IP address, whose certificate is verified.

    Twisted's optionsForClientTLS verifies the same, but does not tell which check has failed.
    """

    host: str
    _options: CertificateOptions = field(init=False, factory=_options)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """A connection that fails with UntrustedCertificateError, before anything is sent."""
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        if not _is_address(self.host):
            connection.set_tlsext_host_name(self.host.encode())

        def verify(_: SSL.Connection, certificate: X509, code: int, depth: int, ok: int) -> bool:
            if ok and depth == 0:
                code = _identity_fault(certificate, self.host)
            if code == Codes.OK:
                return True
            tlsProtocol.failVerification(Failure(UntrustedCertificateError(untrusted(code))))
            return False

        # An exception in `verify` makes OpenSSL refuse the certificate.
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection


def _identity_fault(certificate: X509, host: str) -> int:
    """`Codes.OK` if a certificate is for `host`, else the code that OpenSSL has for that."""
    is_address = _is_address(host)
    verify = verify_certificate_ip_address if is_address else verify_certificate_hostname
    try:
        verify(certificate.to_cryptography(), host)
    except (VerificationError, CertificateError, ValueError):
        # The last one comes of a certificate that cannot be read.
        return int(Codes.ERR_IP_ADDRESS_MISMATCH if is_address else Codes.ERR_HOSTNAME_MISMATCH)
    return int(Codes.OK)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
