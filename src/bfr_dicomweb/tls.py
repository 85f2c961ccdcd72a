"""TLS as BCP 195 (RFC 9325) wants it, for the doors that speak it and for those that are called."""

import ssl
from pathlib import Path
from typing import Any, Final

# Of TLS 1.2: forward secrecy and authenticated encryption alone (RFC 9325 section 4.2, and the
# profile of PS3.15 section B.12). Those of TLS 1.3 are all of that kind.
CIPHER_SUITES: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)


def server_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """
    Args:
        certificate: PEM, with the intermediate certificates after it.
        client_ca: PEM; when given, only clients with a certificate of these authorities connect.

    Raises:
        OSError: a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """
    Args:
        ca: PEM; the authorities of this machine when None.
        certificate: PEM, of this side, when the receiver asks for one.

    Raises:
        OSError: a file cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
    _restrict(context)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(CIPHER_SUITES))


def certificate_names(
    ssl_object: ssl.SSLObject | ssl.SSLSocket | None,
) -> frozenset[str] | None:
    """Common name and alternative names of the other side's certificate.

    None without TLS, and when it showed no certificate.
    """
    certificate: Any = ssl_object.getpeercert() if ssl_object is not None else None
    if not certificate:
        return None
    subject = (pair for part in certificate.get("subject", ()) for pair in part)
    names = {value for kind, value in subject if kind == "commonName"}
    alternatives = certificate.get("subjectAltName", ())
    kinds = ("DNS", "URI", "email", "IP Address")
    return frozenset(names | {value for kind, value in alternatives if kind in kinds})
