"""The certificates of one local control plane: two authorities, so that a Kubernetes user is never an etcd user."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator_operator.local.files import write_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

LIFETIME = timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
_SKEW = timedelta(minutes=5)  # a clock that is a little behind still accepts a fresh certificate
_LONGEST_NAME = 64  # RFC 5280, ub-common-name


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Pki:
    """The files of a control plane's identities, all below one folder."""

    folder: Path

    @property
    def ca(self) -> Pair:
        """Signs the API server's certificate and every Kubernetes user's."""
        return self.pair("ca")

    @property
    def etcd_ca(self) -> Pair:
        """Signs etcd's certificate and the API server's as etcd's only client."""
        return self.pair("etcd-ca")

    @property
    def service_accounts(self) -> Path:
        """The key that signs service-account tokens."""
        return self.folder / "service-accounts.key"

    def pair(self, name: str) -> Pair:
        """The files of one identity."""
        return Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def ensure(self, now: datetime) -> None:
        """Make what is missing or about to expire. A new authority makes everything below it new."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        renewed = [
            _ensure_authority(pair, name, now) for name, pair in (("kubernetes", self.ca), ("etcd", self.etcd_ca))
        ]
        if not self.service_accounts.is_file():
            write_private(self.service_accounts, _private_pem(ec.generate_private_key(ec.SECP256R1())))
        in_cluster: tuple[str, ...] = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
        for name, ca, subject, groups, hosts, new in (
            ("apiserver", self.ca, "kube-apiserver", (), in_cluster, renewed[0]),
            ("controller-manager", self.ca, "system:kube-controller-manager", (), (), renewed[0]),
            ("admin", self.ca, "orchestrator-admin", ("system:masters",), (), renewed[0]),
            ("etcd", self.etcd_ca, "etcd", (), (), renewed[1]),
            ("etcd-client", self.etcd_ca, "kube-apiserver", (), (), renewed[1]),
        ):
            if new or not _fresh(self.pair(name).certificate, now):
                self.issue(name, subject, groups, now=now, ca=ca, hosts=hosts)

    def issue(
        self,
        name: str,
        subject: str,
        groups: Sequence[str] = (),
        *,
        now: datetime,
        ca: Pair | None = None,
        hosts: Sequence[str] = (),
    ) -> Pair:
        """Sign a certificate for this machine's use: user name in CN, groups in O, as Kubernetes reads them."""
        if len(subject) > _LONGEST_NAME:
            raise ValueError(
                f"the user name {subject!r} is longer than the {_LONGEST_NAME} characters that X.509 allows"
            )
        pair, ca = self.pair(name), ca or self.ca
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, subject))
        issuer = x509.load_pem_x509_certificate(ca.certificate.read_bytes())
        signer = serialization.load_pem_private_key(ca.key.read_bytes(), password=None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{ca.key} is no elliptic-curve key: remove the folder {self.folder}")
        names = [x509.DNSName(host) for host in ("localhost", *hosts)]
        certificate = (
            _unsigned(x509.Name(attributes), issuer.subject, key.public_key(), now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([*names, x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
        )
        write_private(pair.key, _private_pem(key))
        write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return pair


def _ensure_authority(pair: Pair, name: str, now: datetime) -> bool:
    """Make an authority where there is none that lasts; says whether it did."""
    if pair.key.is_file() and _fresh(pair.certificate, now):
        return False
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"orchestrator local {name} CA")])
    certificate = (
        _unsigned(subject, subject, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(pair.key, _private_pem(key))
    write_private(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
    return True


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _fresh(certificate: Path, now: datetime) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    return loaded.not_valid_after_utc - now > _RENEW_BEFORE


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A key in the "EC PRIVATE KEY" form: the API server reads the public half of its token key from no other."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
