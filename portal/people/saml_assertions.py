"""SAML 2.0: the question that a browser takes to the provider, and what the answer says of a person, checked.

python3-saml verifies signatures, times and issuer. It leaves open what SAML's web browser profile demands (section
4.1.4 of saml-profiles-2.0-os), or checks it by a part of the text; that is closed here. Needs the extra `saml`."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.core.cache import cache
from onelogin.saml2.auth import OneLogin_Saml2_Auth
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Names
from onelogin.saml2.errors import OneLogin_Saml2_ValidationError as Problem
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings

LARGEST_ANSWER = 256 * 1024  # characters of base64; real ones have some thousand
LONGEST_SUBJECT = 191  # characters: allauth's column
_REMEMBERED_SECONDS = 3600  # a question is good for ten minutes, so no answer can be used later than that
_SIGNATURES = {
    f"http://www.w3.org/2001/04/xmldsig-more#{kind}-sha{bits}" for kind in ("rsa", "ecdsa") for bits in (256, 384, 512)
}
_DIGESTS = {
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
}
_CANONICAL = "http://www.w3.org/2001/10/xml-exc-c14n#"
_TRANSFORMS = {"http://www.w3.org/2000/09/xmldsig#enveloped-signature", _CANONICAL}
_REASONS = {
    Problem.INVALID_SIGNATURE: "the signature is not the provider's",
    Problem.ASSERTION_EXPIRED: "it is too old",
    Problem.ASSERTION_TOO_EARLY: "it is not valid yet",
    Problem.SESSION_EXPIRED: "it is too old",
    Problem.WRONG_SUBJECTCONFIRMATION: "it is too old, or of another question",
    Problem.WRONG_AUDIENCE: "it is for another program",
    Problem.WRONG_DESTINATION: "it is for another address",
    Problem.WRONG_ISSUER: "it is of another provider",
    Problem.STATUS_CODE_IS_NOT_SUCCESS: "the provider let nobody in",
}


class AnswerRefused(Exception):
    """The reason, in words of ours: the text of an answer is that of whoever sent it, and is not repeated."""


@dataclass(frozen=True)
class SamlAnswer:
    """Of a person whom the provider has let in. The methods are those by which allauth reads it."""

    subject: str
    form: str  # of the subject; blank where an attribute names it
    attributes: dict[str, list[str]]
    question: str

    def get_nameid(self) -> str:
        return self.subject

    def get_nameid_format(self) -> str:
        return self.form

    def get_attributes(self) -> dict[str, list[str]]:
        return self.attributes


def service(provider: dict[str, Any], *, entity_id: str, answer_url: str) -> OneLogin_Saml2_Settings:
    """Hilum as the provider has to know it, and the provider as of the settings."""
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "idp": {
                "entityId": provider["entity_id"],
                "singleSignOnService": {"url": provider["sso_url"], "binding": Names.BINDING_HTTP_REDIRECT},
                "x509certMulti": {"signing": provider["certificates"]},
            },
            "sp": {
                "entityId": entity_id,
                "assertionConsumerService": {"url": answer_url, "binding": Names.BINDING_HTTP_POST},
            },
            "security": {
                "wantAssertionsSigned": True,
                "rejectDeprecatedAlgorithm": True,
                "requestedAuthnContext": False,  # how people prove who they are is the provider's business
                "wantNameId": False,
                "wantAttributeStatement": False,
                "allowRepeatAttributeName": True,
                "allowSingleLabelDomains": True,
                "metadataValidUntil": "",  # the metadata changes only with Hilum's address
                "metadataCacheDuration": "",
            },
        }
    )


def ask(service: OneLogin_Saml2_Settings) -> tuple[str, str]:
    """The provider's address with a question, and the question's ID."""
    auth = OneLogin_Saml2_Auth(_received_at(service), service)
    address = auth.login(return_to="")
    return str(address), str(auth.get_last_request_id())


def metadata(service: OneLogin_Saml2_Settings) -> bytes:
    xml = service.get_sp_metadata()
    return xml.encode() if isinstance(xml, str) else bytes(xml)


def read(sent: str, service: OneLogin_Saml2_Settings, names: dict[str, list[str]]) -> SamlAnswer:
    """What an answer says of a person; `names` are the attributes of interest, with their names at providers. An
    assertion is accepted once.

    Raises AnswerRefused."""
    response = _parse(sent, service)
    try:
        response.check_status()
        _check_form(response.document)
        response.is_valid(_received_at(service), raise_exceptions=True)
    except AnswerRefused:
        raise
    except Exception as problem:  # whatever a malformed one leads to, as in python3-saml itself
        raise AnswerRefused(_REASONS.get(getattr(problem, "code", None), "it is not valid")) from problem
    assertion = response.document.find("saml:Assertion", Names.NSMAP)
    _check_recipient(response.document, assertion, service.get_sp_data())
    answer = _what_it_says(response, assertion, names)
    key = hashlib.sha256(assertion.get("ID").encode()).hexdigest()
    if not cache.add(f"saml-assertion-{key}", 1, _REMEMBERED_SECONDS):
        raise AnswerRefused("it was used already")
    return answer


def _received_at(service: OneLogin_Saml2_Settings) -> dict[str, Any]:
    """The address of answers, in the form of python3-saml."""
    url = urlsplit(service.get_sp_data()["assertionConsumerService"]["url"])
    https = "on" if url.scheme == "https" else "off"
    return {"https": https, "http_host": url.netloc, "script_name": url.path, "get_data": {}, "post_data": {}}


def _parse(sent: str, service: OneLogin_Saml2_Settings) -> OneLogin_Saml2_Response:
    if len(sent) > LARGEST_ANSWER:
        raise AnswerRefused("it is too large")
    try:
        base64.b64decode("".join(sent.split()), validate=True)
        return OneLogin_Saml2_Response(service, sent)
    except (binascii.Error, SyntaxError, ValueError) as problem:  # also of a DTD, and so of every entity
        raise AnswerRefused("it is no XML, or XML with a DTD") from problem
    except Exception as problem:  # of an encrypted assertion, for which there is no key
        raise AnswerRefused("it is encrypted, or malformed") from problem


def _check_form(document: Any) -> None:
    """One assertion, signed itself, and signatures of known kinds alone, before anything is computed from them: a
    transform may be a program (XSLT)."""
    assertions = document.xpath("//saml:Assertion", namespaces=Names.NSMAP)
    if len(assertions) != 1 or assertions[0].getparent() is not document:
        raise AnswerRefused("it has not one assertion in its place")
    if len(assertions[0].findall("ds:Signature", Names.NSMAP)) != 1:
        raise AnswerRefused("the assertion is not signed")
    ids = document.xpath("//@ID | //@Id | //@id")
    if len(ids) != len(set(ids)):
        raise AnswerRefused("two elements have the same ID")
    for signature in document.xpath("//ds:Signature", namespaces=Names.NSMAP):
        signed = signature.getparent()
        if signed is not document and signed is not assertions[0]:
            raise AnswerRefused("a signature is out of place")
        references = signature.findall("ds:SignedInfo/ds:Reference", Names.NSMAP)
        if [reference.get("URI") for reference in references] != [f"#{signed.get('ID')}"]:
            raise AnswerRefused("a signature is of something else")
        for path, known in (
            ("ds:SignedInfo/ds:SignatureMethod", _SIGNATURES),
            ("ds:SignedInfo/ds:CanonicalizationMethod", {_CANONICAL}),
            ("ds:SignedInfo/ds:Reference/ds:DigestMethod", _DIGESTS),
            (".//ds:Transform", _TRANSFORMS),
        ):
            if not {element.get("Algorithm") for element in signature.iterfind(path, Names.NSMAP)} <= known:
                raise AnswerRefused("it is signed by an algorithm that is not accepted, such as SHA-1")


def _check_recipient(document: Any, assertion: Any, own: dict[str, Any]) -> None:
    """python3-saml compares parts of addresses, takes any audience, and lets what is missing pass."""
    answer_url = own["assertionConsumerService"]["url"]
    if document.get("Destination") != answer_url:
        raise AnswerRefused("it is for another address")
    restrictions = assertion.findall("saml:Conditions/saml:AudienceRestriction", Names.NSMAP)
    audiences = [
        {(audience.text or "").strip() for audience in restriction.findall("saml:Audience", Names.NSMAP)}
        for restriction in restrictions
    ]
    if not audiences or not all(own["entityId"] in group for group in audiences):
        raise AnswerRefused("it is for another program")
    confirmations = assertion.findall("saml:Subject/saml:SubjectConfirmation", Names.NSMAP)
    if len(confirmations) != 1 or confirmations[0].get("Method") != Names.CM_BEARER:
        raise AnswerRefused("it has not one subject confirmation")
    data = confirmations[0].find("saml:SubjectConfirmationData", Names.NSMAP)  # which is_valid asked for
    if data.get("Recipient") != answer_url or not data.get("NotOnOrAfter"):
        raise AnswerRefused("it is for another address, or has no end")
    if not data.get("InResponseTo"):
        raise AnswerRefused("it answers no question")


def _what_it_says(response: Any, assertion: Any, names: dict[str, list[str]]) -> SamlAnswer:
    wanted = {name for group in names.values() for name in group}
    attributes = {
        name: [value for value in values if isinstance(value, str)]
        for name, values in response.get_attributes().items()
        if name in wanted
    }
    subject = next((attributes[name][0] for name in names["uid"] if attributes.get(name)), "")
    form = ""
    name_id = assertion.find("saml:Subject/saml:NameID", Names.NSMAP)
    if not subject and name_id is not None:
        subject, form = (name_id.text or "").strip(), name_id.get("Format", "")
        if form == Names.NAMEID_TRANSIENT:
            raise AnswerRefused("it names the person by an identifier of this log-in alone (transient)")
    if not subject or len(subject) > LONGEST_SUBJECT:
        raise AnswerRefused(f"it names nobody, or by more than {LONGEST_SUBJECT} characters")
    data = assertion.find("saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData", Names.NSMAP)
    return SamlAnswer(subject=subject, form=form, attributes=attributes, question=data.get("InResponseTo"))
