"""A SAML 2.0 identity provider on the loopback interface. pysaml2 reads the questions and writes the answers, from
Hilum's own metadata. It signs by the program xmlsec1 alone, which pip does not install, so signxml signs the
assertions. Whoever asks is logged in as `subject`, by a page that sends itself, as a provider's does."""

from __future__ import annotations

import base64
import datetime
import functools
import html
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from signxml import SignatureConstructionMethod, XMLSigner

from portal.project import saml_provider

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pysaml2 names a mode of ciphers that cryptography has moved
    from saml2 import BINDING_HTTP_REDIRECT
    from saml2.authn_context import PASSWORDPROTECTEDTRANSPORT
    from saml2.config import IdPConfig
    from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
    from saml2.server import Server

NAMES = {
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}


class Sha1Signer(XMLSigner):
    def check_deprecated_methods(self) -> None:
        """Allowed, for the test."""


@functools.cache
def key_pair(which: str, bits: int = 2048) -> tuple[str, str]:
    """A private key and its certificate, in PEM; the same for a whole test process. Without bits, of a curve."""
    key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, which)])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


class SamlProvider:
    def __init__(self) -> None:
        self.saml: Any = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.behave()

    def behave(self) -> None:
        """As at first: tests of one module share the provider, and change what it says."""
        self.subject, self.subject_format = "7", NAMEID_FORMAT_PERSISTENT
        self.attributes: dict[str, str] = {"uid": "kim", "givenName": "Kim", "sn": "Lee"}
        self.answers_question = True
        self.signing_key, self.certificate = key_pair("provider")
        self.signer: XMLSigner | None = XMLSigner(
            method=SignatureConstructionMethod.enveloped, c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"
        )
        self.before_signing: Callable[[Any], Any] = lambda answer: None
        self.after_signing: Callable[[Any], Any] = lambda answer: None

    def learn(self, metadata: bytes, folder: Path) -> None:
        """As an administrator does who loads Hilum's metadata into the provider."""
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        key.write_text(self.signing_key)
        certificate.write_text(self.certificate)
        configuration = {
            "entityid": f"{self.address}/metadata",
            "crypto_backend": "XMLSecurity",  # imported where pysaml2 signs by itself, so never
            "key_file": str(key),
            "cert_file": str(certificate),
            "metadata": {"inline": [metadata.decode()]},
            "service": {
                "idp": {"endpoints": {"single_sign_on_service": [(f"{self.address}/sso", BINDING_HTTP_REDIRECT)]}}
            },
        }
        self.saml = Server(config=IdPConfig().load(configuration))

    def answer(self, question: str) -> tuple[str, str]:
        """Where the browser has to send an answer, and the answer: pysaml2 looks the address up in the metadata."""
        asked = self.saml.parse_authn_request(question, BINDING_HTTP_REDIRECT).message
        to = self.saml.response_args(asked)
        response = self.saml.create_authn_response(
            self.attributes,
            in_response_to=to["in_response_to"] if self.answers_question else None,
            destination=to["destination"],
            sp_entity_id=to["sp_entity_id"],
            name_id=NameID(format=self.subject_format, text=self.subject),
            authn={"class_ref": PASSWORDPROTECTEDTRANSPORT, "authn_auth": self.address},
            sign_response=False,
            sign_assertion=False,
        )
        return to["destination"], self.finished(etree.fromstring(str(response).encode()))

    def finished(self, answer: Any) -> str:
        self.before_signing(answer)
        if self.signer is not None:
            sign(answer, self.signer, self.signing_key, self.certificate)
        self.after_signing(answer)
        return base64.b64encode(etree.tostring(answer)).decode()


def sign(answer: Any, signer: XMLSigner, key: str, certificate: str) -> None:
    """The assertion, in its place; SAML wants the signature behind the issuer."""
    assertion = answer.find("saml:Assertion", NAMES)
    place = etree.Element(f"{{{NAMES['ds']}}}Signature", Id="placeholder")
    assertion.insert(1, place)
    alone = etree.fromstring(etree.tostring(assertion))
    signed = signer.sign(alone, key=key, cert=certificate, reference_uri=assertion.get("ID"), id_attribute="ID")
    answer.replace(assertion, signed)


def _handler_of(provider: SamlProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path != "/sso":
                self.send_error(404)
                return
            destination, answer = provider.answer(parse_qs(url.query)["SAMLRequest"][0])
            body = (
                f'<body onload="document.forms[0].submit()"><form method="post" action="{html.escape(destination)}">'
                f'<input type="hidden" name="SAMLResponse" value="{answer}"><input type="hidden" name="RelayState">'
                "</form></body>"
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    return Handler


@contextmanager
def running() -> Generator[SamlProvider]:
    provider = SamlProvider()
    thread = threading.Thread(target=provider.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        provider.server.server_close()
        thread.join()


def settings_for(provider: SamlProvider) -> dict[str, Any]:
    """SOCIALACCOUNT_PROVIDERS as the environment makes them."""
    names = {
        "HILUM_SAML_ENTITY_ID": f"{provider.address}/metadata",
        "HILUM_SAML_URL": f"{provider.address}/sso",
        "HILUM_SAML_CERTIFICATE": provider.certificate,
        "HILUM_SAML_NAME": "Ward log-in",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        return saml_provider.from_environment(production=False)
