"""The SAML provider of the settings: what is taken from them, and what is refused at start."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.exceptions import ImproperlyConfigured
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor

from portal.project import saml_provider
from portal.project.condition import saml_certificate
from tests.portal.people.saml_identity_provider import key_pair

ADDRESS = "https://login.example.org/saml"


def one_line(pem: str) -> str:
    return "".join(pem.splitlines()[1:-1])


def of_days(days: int) -> str:
    """A certificate in PEM that ends in so many days."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "provider")])
    today = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today - timedelta(days=60)).not_valid_after(today + timedelta(days=days))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def settings_of(monkeypatch: pytest.MonkeyPatch, **changed: str) -> Any:
    names = {
        "HILUM_SAML_ENTITY_ID": "https://login.example.org",
        "HILUM_SAML_URL": ADDRESS,
        "HILUM_SAML_CERTIFICATE": key_pair("provider")[1],
    }
    for name, value in (names | changed).items():
        monkeypatch.setenv(name, value)
    return saml_provider.from_environment(production=True)


def from_file(monkeypatch: pytest.MonkeyPatch, path: Path) -> Any:
    monkeypatch.setenv("HILUM_SAML_METADATA", str(path))
    return saml_provider.from_environment(production=True)


def metadata(folder: Path, address: str = ADDRESS) -> Path:
    """As pysaml2 writes its own."""
    (folder / "certificate.pem").write_text(key_pair("provider")[1])
    endpoint = (address, "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect")
    configuration = {
        "entityid": "https://login.example.org",
        "crypto_backend": "XMLSecurity",
        "cert_file": str(folder / "certificate.pem"),
        "service": {"idp": {"endpoints": {"single_sign_on_service": [endpoint] if address else []}}},
    }
    path = folder / "provider.xml"
    path.write_text(str(entity_descriptor(IdPConfig().load(configuration))))
    return path


def test_a_provider_is_named_by_three_settings_or_by_its_own_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert saml_provider.from_environment(production=True) == {}
    by_file = from_file(monkeypatch, metadata(tmp_path))
    monkeypatch.delenv("HILUM_SAML_METADATA")
    by_settings = settings_of(monkeypatch)
    assert by_file == by_settings
    (app,) = by_settings["saml"]["APPS"]
    assert (app["name"], app["provider_id"]) == ("login.example.org", "https://login.example.org")
    assert app["settings"]["idp"] == {
        "entity_id": "https://login.example.org",
        "sso_url": ADDRESS,
        "certificates": [one_line(key_pair("provider")[1])],
    }


def test_a_certificate_may_be_on_one_line_and_have_a_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [one_line(key_pair(name)[1]) for name in ("provider", "another")]
    (app,) = settings_of(monkeypatch, HILUM_SAML_CERTIFICATE=", ".join(lines))["saml"]["APPS"]
    assert app["settings"]["idp"]["certificates"] == lines


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"HILUM_SAML_ENTITY_ID": ""}, "HILUM_SAML_ENTITY_ID is not set"),
        ({"HILUM_SAML_URL": ""}, "HILUM_SAML_URL is not set"),
        ({"HILUM_SAML_CERTIFICATE": ""}, "HILUM_SAML_CERTIFICATE is not set"),
        ({"HILUM_SAML_URL": "http://login.example.org/saml"}, "expected one such as https://"),
        ({"HILUM_SAML_ENTITY_ID": "x" * 201}, "has 201 characters; at most 200"),
        ({"HILUM_SAML_CERTIFICATE": "MIIC"}, "has no certificate that can be read"),
        ({"HILUM_SAML_CERTIFICATE": "not base64"}, "has no certificate that can be read"),
        ({"HILUM_SAML_METADATA": "/etc/provider.xml"}, "are both set"),
    ],
)
def test_what_is_no_provider_is_refused(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        settings_of(monkeypatch, **changed)


def test_a_short_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="a key of 1024 bits; expected RSA of 2048"):
        settings_of(monkeypatch, HILUM_SAML_CERTIFICATE=key_pair("short", 1024)[1])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<a", "is no SAML metadata"),
        ('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><a>&e;</a>', "is no SAML metadata"),
        ("<a/>", "describes 0 identity providers"),
    ],
)
def test_a_file_that_is_no_metadata_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, sentence: str
) -> None:
    (tmp_path / "provider.xml").write_text(content)
    with pytest.raises(ImproperlyConfigured, match=sentence):
        from_file(monkeypatch, tmp_path / "provider.xml")


def test_a_file_that_is_missing_or_lacks_a_part_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="cannot be read \\(No such file"):
        from_file(monkeypatch, tmp_path / "none.xml")
    whole = metadata(tmp_path).read_text()
    for part, other in (("HTTP-Redirect", "SOAP"), ('use="signing"', 'use="encryption"')):
        assert part in whole
        (tmp_path / "provider.xml").write_text(whole.replace(part, other))
        with pytest.raises(ImproperlyConfigured, match="an address for HTTP-Redirect, or a certificate that it signs"):
            from_file(monkeypatch, tmp_path / "provider.xml")


def test_without_its_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onelogin.saml2.auth", None)
    with pytest.raises(ImproperlyConfigured, match=r"HILUM_SAML_ENTITY_ID needs .* pip install 'hilum\[saml\]'"):
        settings_of(monkeypatch)


def test_packages_that_do_not_work_together_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """xmlsec raises an error of its own on import where its libxml2 is another than that of lxml."""

    def mismatch(name: str) -> None:
        raise RuntimeError("lxml & xmlsec libxml2 library version mismatch")

    monkeypatch.setattr(saml_provider, "import_module", mismatch)
    with pytest.raises(ImproperlyConfigured, match=r"do not work together: .* mismatch. Install them at the versions"):
        settings_of(monkeypatch)


@pytest.mark.parametrize(("days", "is_named"), [([-3], True), ([20], True), ([40], False), ([20, 400], False)])
def test_the_doctor_names_a_certificate_that_ends_and_has_no_successor(
    monkeypatch: pytest.MonkeyPatch, settings: Any, days: list[int], is_named: bool
) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = settings_of(
        monkeypatch, HILUM_SAML_CERTIFICATE=",".join(one_line(of_days(count)) for count in days)
    )
    last = f"{datetime.now(UTC) + timedelta(days=days[-1]):%Y-%m-%d}"
    assert (last in saml_certificate().fault) is is_named
    assert bool(saml_certificate().remedy) is is_named


def test_without_a_saml_provider_no_certificate_ends() -> None:
    assert saml_certificate().fault == ""
