from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from orchestrator_operator.local.certificates import LIFETIME, Pki

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 1, tzinfo=UTC)
IDENTITIES = {"apiserver": "ca", "controller-manager": "ca", "admin": "ca", "etcd": "etcd-ca", "etcd-client": "etcd-ca"}


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki(tmp_path / "pki")
    made.ensure(NOW)
    return made


def certificate(pki: Pki, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pki.pair(name).certificate.read_bytes())


@pytest.mark.parametrize(("name", "authority"), IDENTITIES.items())
def test_each_identity_is_signed_by_its_own_authority_only(pki: Pki, name: str, authority: str) -> None:
    certificate(pki, name).verify_directly_issued_by(certificate(pki, authority))
    (other,) = {"ca", "etcd-ca"} - {authority}
    with pytest.raises((InvalidSignature, ValueError)):
        certificate(pki, name).verify_directly_issued_by(certificate(pki, other))


def test_a_user_s_name_and_groups_stand_where_kubernetes_looks(pki: Pki) -> None:
    pki.issue("user", "alice", ["team-a", "team-b"], now=NOW)
    subject = certificate(pki, "user").subject
    assert [item.value for item in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["alice"]
    assert [item.value for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["team-a", "team-b"]


def test_the_key_fits_the_certificate(pki: Pki) -> None:
    key = serialization.load_pem_private_key(pki.pair("admin").key.read_bytes(), password=None)
    assert key.public_key() == certificate(pki, "admin").public_key()


def test_nobody_else_can_read_them(pki: Pki) -> None:
    assert {path.stat().st_mode & 0o777 for path in pki.folder.iterdir()} == {0o600}
    assert pki.folder.stat().st_mode & 0o777 == 0o700


def contents(pki: Pki) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in pki.folder.iterdir()}


def test_what_lasts_is_kept(pki: Pki) -> None:
    before = contents(pki)
    pki.ensure(NOW + timedelta(days=300))
    assert contents(pki) == before


def test_everything_but_the_token_key_is_renewed_before_it_expires(pki: Pki) -> None:
    before, later = contents(pki), NOW + LIFETIME - timedelta(days=20)
    pki.ensure(later)
    same = {name for name, content in contents(pki).items() if content == before[name]}
    assert same == {"service-accounts.key"}
    for name in IDENTITIES:
        assert certificate(pki, name).not_valid_after_utc == later + LIFETIME


def test_a_missing_authority_makes_everything_below_it_new(pki: Pki) -> None:
    pki.etcd_ca.key.unlink()
    pki.ensure(NOW)
    certificate(pki, "etcd").verify_directly_issued_by(certificate(pki, "etcd-ca"))


def test_a_name_that_no_certificate_can_hold_is_refused_in_words(pki: Pki) -> None:
    with pytest.raises(ValueError, match="64 characters"):
        pki.issue("user", "x" * 65, now=NOW)
