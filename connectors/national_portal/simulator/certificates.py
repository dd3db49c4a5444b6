"""Certificates for 127.0.0.1, made at the start of a simulator that speaks TLS: good ones and bad ones."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Certificates:
    """`ca` is the file that a caller has to trust; the contexts are the server's."""

    ca: Path
    good: ssl.SSLContext
    expired: ssl.SSLContext
    unknown_ca: ssl.SSLContext


def make_certificates(folder: Path) -> Certificates:
    """Write the authority's certificate to `folder`/ca.pem, and the servers' beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)
    known, stranger = _Authority("Simulated authority", now), _Authority("Stranger", now)
    (folder / "ca.pem").write_bytes(known.certificate.public_bytes(serialization.Encoding.PEM))
    year = timedelta(days=365)
    return Certificates(
        ca=folder / "ca.pem",
        good=_context(folder / "good.pem", known, now + year),
        expired=_context(folder / "expired.pem", known, now - timedelta(days=1)),
        unknown_ca=_context(folder / "unknown_ca.pem", stranger, now + year),
    )


class _Authority:
    def __init__(self, name: str, now: datetime) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.begins = now - timedelta(days=365)
        self.certificate = _builder(self, self.name, self.key, now + timedelta(days=365), ca=True)


def _builder(
    issuer: _Authority,
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    ends: datetime,
    *,
    ca: bool,
) -> x509.Certificate:
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issuer.begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(address, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()),
            critical=False,
        )
        .sign(issuer.key, hashes.SHA256())
    )


def _context(path: Path, issuer: _Authority, ends: datetime) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = _builder(issuer, subject, key, ends, ca=False)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
