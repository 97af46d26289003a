"""The SAML provider of the settings, checked at start."""

import base64
import binascii
import re
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.core.exceptions import ImproperlyConfigured

from portal.project.environment import required, text

_SINGLE = ("HILUM_SAML_ENTITY_ID", "HILUM_SAML_URL", "HILUM_SAML_CERTIFICATE")
_LONGEST_ENTITY_ID = 200  # characters: it is the provider's name in the rows of accounts
_CLAIMS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
# What Hilum takes from an assertion, and under which names providers send it. Nothing else is kept.
ATTRIBUTES = {
    "uid": [
        "urn:oasis:names:tc:SAML:attribute:subject-id",
        "urn:oasis:names:tc:SAML:attribute:pairwise-id",
    ],
    "username": ["urn:oid:0.9.2342.19200300.100.1.1", f"{_CLAIMS}/name", f"{_CLAIMS}/upn", "username", "uid"],
    "first_name": ["urn:oid:2.5.4.42", f"{_CLAIMS}/givenname", "firstName", "givenName"],
    "last_name": ["urn:oid:2.5.4.4", f"{_CLAIMS}/surname", "lastName", "sn"],
    "email": ["urn:oid:0.9.2342.19200300.100.1.3", f"{_CLAIMS}/emailaddress", "email", "mail"],
    "email_verified": ["email_verified"],
}


def from_environment(*, production: bool) -> dict[str, Any]:
    """The part of SOCIALACCOUNT_PROVIDERS for the provider of HILUM_SAML_METADATA, or of the three settings that say
    the same; empty without one."""
    metadata = text("HILUM_SAML_METADATA", "")
    single = [name for name in _SINGLE if text(name, "")]
    names = ["HILUM_SAML_METADATA"] * bool(metadata) + single
    if not names:
        return {}
    _check_packages(names[0])
    if metadata and single:
        raise ImproperlyConfigured(
            f"HILUM_SAML_METADATA and {single[0]} are both set; the file says it all: take one of them out."
        )
    provider = _from_file(Path(metadata)) if metadata else _from_settings()
    _check_address(provider["sso_url"], production=production)
    if len(provider["entity_id"]) > _LONGEST_ENTITY_ID:
        raise ImproperlyConfigured(
            f"The provider's entity ID has {len(provider['entity_id'])} characters; at most {_LONGEST_ENTITY_ID} can "
            "be stored. Give it a shorter one."
        )
    app = {
        "provider_id": provider["entity_id"],  # so that accounts of one provider are not taken for another's
        "client_id": "saml",
        "name": text("HILUM_SAML_NAME", urlsplit(provider["sso_url"]).hostname or ""),
        "settings": {"idp": provider, "attribute_mapping": ATTRIBUTES},
    }
    return {"saml": {"APPS": [app]}}


def certificates_end(providers: dict[str, Any]) -> datetime | None:
    """When the last of the certificates of SOCIALACCOUNT_PROVIDERS ends with which a SAML provider signs; None without
    one."""
    ends = [
        x509.load_der_x509_certificate(base64.b64decode(body)).not_valid_after_utc
        for app in providers.get("saml", {}).get("APPS", ())
        for body in app["settings"]["idp"]["certificates"]
    ]
    return max(ends, default=None)


def _check_packages(name: str) -> None:
    try:
        import_module("onelogin.saml2.auth")
    except ImportError as problem:  # ModuleNotFoundError, or a library of the system that is missing
        raise ImproperlyConfigured(
            f"{name} needs three packages more: pip install 'hilum[saml]' ({problem})."
        ) from problem
    except Exception as problem:  # xmlsec's own, of another libxml2 than that of lxml
        raise ImproperlyConfigured(
            f"{name} is set, and the packages of the extra saml do not work together: {problem}. Install them at the "
            "versions of constraints.txt: pip install -c constraints.txt 'hilum[saml]'."
        ) from problem


def _from_settings() -> dict[str, Any]:
    entity_id, address, certificates = (
        required(name, why="a SAML provider needs HILUM_SAML_METADATA, or " + ", ".join(_SINGLE) + ".")
        for name in _SINGLE
    )
    return {
        "entity_id": entity_id,
        "sso_url": address,
        "certificates": [_checked(part, "HILUM_SAML_CERTIFICATE") for part in certificates.split(",")],
    }


def _from_file(path: Path) -> dict[str, Any]:
    from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser
    from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

    try:
        tree = OneLogin_Saml2_XML.to_etree(path.read_bytes())
        count = len(OneLogin_Saml2_XML.query(tree, "//md:IDPSSODescriptor"))
        signs = "//md:IDPSSODescriptor/md:KeyDescriptor[not(@use) or @use='signing']//ds:X509Certificate"
        certificates = [node.text or "" for node in OneLogin_Saml2_XML.query(tree, signs)]
        provider = OneLogin_Saml2_IdPMetadataParser.parse(tree).get("idp", {}) if count == 1 else {}
    except OSError as problem:
        raise ImproperlyConfigured(
            f"HILUM_SAML_METADATA is {path}, which cannot be read ({problem.strerror}); name the provider's metadata "
            "file."
        ) from problem
    except (SyntaxError, ValueError) as problem:  # lxml's error is a SyntaxError
        raise ImproperlyConfigured(
            f"HILUM_SAML_METADATA is {path}, which is no SAML metadata ({problem}); download it from the provider "
            "again."
        ) from problem
    if count != 1:
        raise ImproperlyConfigured(
            f"HILUM_SAML_METADATA is {path}, which describes {count} identity providers; expected one."
        )
    address = provider.get("singleSignOnService", {}).get("url", "")
    if not provider.get("entityId") or not address or not certificates:
        raise ImproperlyConfigured(
            f"HILUM_SAML_METADATA is {path}, which lacks the provider's entity ID, an address for HTTP-Redirect, or a "
            "certificate that it signs with; download it from the provider again."
        )
    return {
        "entity_id": provider["entityId"],
        "sso_url": address,
        "certificates": [_checked(certificate, "HILUM_SAML_METADATA") for certificate in certificates],
    }


def _check_address(address: str, *, production: bool) -> None:
    url = urlsplit(address)
    if url.scheme not in (("https",) if production else ("https", "http")) or not url.hostname:
        raise ImproperlyConfigured(
            f"The provider's address of HILUM_SAML_URL, or of the file of HILUM_SAML_METADATA, is {address!r}; "
            "expected one such as https://login.example.org/realms/ward/protocol/saml."
        )


def _checked(certificate: str, name: str) -> str:
    """The certificate in base64 without lines, as python3-saml takes it."""
    body = "".join(re.sub(r"-----(BEGIN|END) CERTIFICATE-----", "", certificate).split())
    try:
        key = x509.load_der_x509_certificate(base64.b64decode(body, validate=True)).public_key()
    except (binascii.Error, ValueError) as problem:
        raise ImproperlyConfigured(
            f"{name} has no certificate that can be read ({str(problem)[:100]}); expected the one that the provider "
            "signs with, in base64 (PEM), several of them separated by commas."
        ) from problem
    if isinstance(key, ec.EllipticCurvePublicKey) or (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048):
        return body
    raise ImproperlyConfigured(
        f"{name} has a certificate with a key of {getattr(key, 'key_size', 'an unknown number of')} bits; expected RSA "
        "of 2048 or more, or ECDSA."
    )
