"""Log-in through a SAML provider that runs on the loopback interface. The posts come as a browser sends them from
another site: without the cookies of Hilum, and with the provider's origin."""

from __future__ import annotations

import base64
import copy
import re
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client
from django.test.utils import override_script_prefix
from lxml import etree
from signxml import DigestAlgorithm, SignatureMethod

from portal.models import AuditEvent, Membership, Role, User
from portal.people import saml_assertions
from tests.pages import one_line
from tests.portal import factories
from tests.portal.people import identity_provider, saml_identity_provider
from tests.portal.people.saml_identity_provider import NAMES, SamlProvider, Sha1Signer, key_pair
from tests.portal.people.test_second_factors import with_app

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
ACS = "http://testserver/accounts/saml/acs/"
MAIL = "kim@hospital.example"
NOT_SENT = "failed or took too long"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[SamlProvider, Path]]:
    with saml_identity_provider.running() as provider:
        yield provider, tmp_path_factory.mktemp("provider")


@pytest.fixture
def provider(shared: tuple[SamlProvider, Path], settings: Any) -> SamlProvider:
    cache.clear()
    provider, folder = shared
    provider.behave()
    settings.SOCIALACCOUNT_PROVIDERS = saml_identity_provider.settings_for(provider)
    if provider.saml is None:
        provider.learn(Client().get("/accounts/saml/metadata/").content, folder)
    return provider


def answer_to(client: Client, way: str = "") -> str:
    """What the page of the provider sends when the browser has come there from Hilum."""
    leave = client.get(f"/accounts/saml/{way}")
    with urllib.request.urlopen(leave["Location"]) as page:
        (answer,) = re.findall(r'name="SAMLResponse" value="([^"]+)"', page.read().decode())
    return str(answer)


def post(answer: str) -> Any:
    elsewhere = Client(enforce_csrf_checks=True, headers={"Origin": "http://127.0.0.1:5000"})
    return elsewhere.post("/accounts/saml/acs/", {"SAMLResponse": answer, "RelayState": "https://evil.example"})


def bring(client: Client, answer: str) -> Any:
    """The browser sends the provider's page, and follows where it is led."""
    received = post(answer)
    client.cookies.update(received.cookies)
    return client.get(received["Location"], follow=True)


def log_in(client: Client | None = None, way: str = "") -> tuple[Client, Any]:
    client = client or Client()
    return client, bring(client, answer_to(client, way))


def person_of(client: Client) -> str:
    pk = client.session.get("_auth_user_id")
    return User.objects.get(pk=pk).username if pk else ""


def failures() -> list[str]:
    return [event.reason for event in AuditEvent.objects.filter(verb="fail to log in").order_by("pk")]


# --- who is let in, and as whom -----------------------------------------------------------------


def test_a_new_person_gets_an_account_without_any_role(provider: SamlProvider) -> None:
    assert "Log in with Ward log-in" in one_line(Client().get("/accounts/login/"))
    provider.attributes |= {"Role": "manager", "is_superuser": "true", "is_staff": "true", "memberOf": "Administrators"}
    client, page = log_in(way="?next=/splits/")
    assert page.redirect_chain[-1][0] == "/splits/"
    assert "not a member of any site yet" in one_line(client.get("/datasets/"))
    kim = User.objects.get(username="kim")
    assert (kim.get_full_name(), kim.has_usable_password(), kim.is_staff, kim.is_superuser) == (
        "Kim Lee",
        False,
        False,
        False,
    )
    assert not Membership.objects.exists()
    assert [(event.verb, event.after) for event in AuditEvent.objects.order_by("pk")] == [
        ("make user", {"username": "kim", "by": "Ward log-in"}),
        ("log in", {"by": ["socialaccount"]}),
    ]
    account = SocialAccount.objects.get()
    assert (account.provider, account.uid, account.extra_data) == (f"{provider.address}/metadata", "7", {})
    assert "started_at" in client.session, "from here the limits of sessions count"
    assert person_of(log_in()[0]) == "kim"
    assert User.objects.count() == 1


def test_a_post_from_another_site_leaves_the_session_alone(provider: SamlProvider) -> None:
    client = Client()
    provider.attributes |= {"memberOf": "Administrators"}
    received = post(answer_to(client))
    assert (received.status_code, received["Location"]) == (302, "/accounts/saml/acs/finish/")
    assert list(received.cookies) == ["saml-answer"]
    cookie = received.cookies["saml-answer"]
    assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/accounts/saml/acs/finish/", True, "Lax")
    waiting = SessionStore(cookie.value)["answer"]
    assert sorted(waiting["attributes"].values()) == [["Kim"], ["Lee"], ["kim"]], "of what it says of a person, this"
    refused = post("bm8gWE1M")
    assert (refused["Location"], dict(refused.cookies)) == ("/accounts/saml/acs/finish/", {})
    sessions = Session.objects.count()
    client.cookies.update(received.cookies)
    client.get(received["Location"])
    assert person_of(client) == "kim"
    assert Session.objects.count() == sessions - 1, "what waited is gone"


@pytest.mark.parametrize(("verified", "setting"), [("true", False), ("false", True), ("", True)])
def test_a_mail_address_is_not_enough(provider: SamlProvider, settings: Any, verified: str, setting: bool) -> None:
    settings.OIDC_LINK_EMAIL = setting
    factories.user("local", Role.MANAGER, email=MAIL.upper())
    provider.attributes |= {"mail": MAIL} | ({"email_verified": verified} if verified else {})
    client, page = log_in()
    assert person_of(client) == ""
    assert "an account of Hilum with your mail address already. Log in with its password" in one_line(page)
    assert not SocialAccount.objects.exists()


def test_a_verified_address_links_where_the_setting_allows_it(provider: SamlProvider, settings: Any) -> None:
    settings.OIDC_LINK_EMAIL = True
    local = factories.user("local", Role.MANAGER, email=MAIL)
    provider.attributes |= {"mail": MAIL, "email_verified": "true"}
    assert person_of(log_in()[0]) == "local"
    local.refresh_from_db()
    assert local.check_password(factories.PASSWORD), "the password goes on working"
    assert AuditEvent.objects.get(verb="link account").after == {"by": "mail address"}
    provider.subject = "8"
    assert person_of(log_in()[0]) == "", "an account belongs to one person of the provider"


@pytest.mark.parametrize("fields", [{"is_superuser": True}, {"is_staff": True}, {"is_active": False}])
def test_nobody_becomes_an_administrator_by_an_address(
    provider: SamlProvider, settings: Any, fields: dict[str, bool]
) -> None:
    settings.OIDC_LINK_EMAIL = True
    factories.user("root", email=MAIL, **fields)
    provider.attributes |= {"mail": MAIL, "email_verified": "true"}
    assert person_of(log_in()[0]) == ""
    assert not SocialAccount.objects.exists()


def test_a_person_connects_their_own_account_after_their_password(provider: SamlProvider) -> None:
    factories.user("local", Role.MANAGER)
    client = Client()
    client.post("/accounts/login/", {"login": "local", "password": factories.PASSWORD})
    assert "Connect your account with Ward log-in" in one_line(client.get("/accounts/password/"))
    _, page = log_in(client, "?process=connect")
    assert "Confirm that it is you" in one_line(page)
    page = client.post(page.redirect_chain[-1][0], {"password": factories.PASSWORD}, follow=True)
    assert "You can log in with Ward log-in" in one_line(page)
    assert AuditEvent.objects.get(verb="link account").after == {"by": "the person"}
    assert person_of(log_in()[0]) == "local"


def test_a_closed_account_stays_closed_and_a_second_factor_is_asked_for(provider: SamlProvider) -> None:
    log_in()
    with_app(User.objects.get())
    client, page = log_in()
    assert (person_of(client), page.redirect_chain[-1][0]) == ("", "/accounts/second-factor/log-in/")
    User.objects.update(is_active=False)
    client, page = log_in()
    assert person_of(client) == ""
    assert "This account is closed" in one_line(page)


def test_another_providers_person_of_the_same_identifier_is_another(provider: SamlProvider, settings: Any) -> None:
    log_in()
    SocialAccount.objects.update(provider="https://the.provider.before.example")
    client, _ = log_in()
    assert person_of(client) not in ("", "kim")


def test_elliptic_curves_may_sign(provider: SamlProvider, settings: Any) -> None:
    assert provider.signer is not None
    provider.signing_key, provider.certificate = saml_identity_provider.key_pair("curve", bits=0)
    provider.signer.sign_alg = SignatureMethod.ECDSA_SHA384
    settings.SOCIALACCOUNT_PROVIDERS = saml_identity_provider.settings_for(provider)
    assert person_of(log_in()[0]) == "kim"


# --- answers that let nobody in -----------------------------------------------------------------


def of(answer: Any, path: str) -> Any:
    return answer.find(path, NAMES)


def setting(path: str, name: str, value: str) -> Callable[[Any], Any]:
    """Set an attribute of the answer's element at `path`."""
    return lambda answer: (answer if path == "." else of(answer, path)).set(name, value)


def telling(path: str, text: str) -> Callable[[Any], Any]:
    return lambda answer: setattr(of(answer, path), "text", text)


def without(path: str, name: str) -> Callable[[Any], Any]:
    return lambda answer: of(answer, path).attrib.pop(name)


def remove(answer: Any, path: str) -> None:
    element = of(answer, path)
    element.getparent().remove(element)


def forged(assertion: Any) -> Any:
    """The assertion as another person's, without a signature, under an ID of its own."""
    other = copy.deepcopy(assertion)
    other.remove(of(other, "ds:Signature"))
    other.set("ID", "forged")
    of(other, "saml:Subject/saml:NameID").text = "8"
    return other


def wrap_beside(answer: Any) -> None:
    answer.insert(2, forged(of(answer, "saml:Assertion")))


def wrap_in_extensions(answer: Any) -> None:
    signed = of(answer, "saml:Assertion")
    answer.replace(signed, forged(signed))
    extensions = etree.Element(f"{{{NAMES['samlp']}}}Extensions")
    extensions.append(signed)
    answer.insert(1, extensions)


def wrap_in_signature(answer: Any) -> None:
    """The forged assertion has the signature, and the signature has the assertion that it is of."""
    signed = of(answer, "saml:Assertion")
    other = forged(signed)
    signature = of(signed, "ds:Signature")
    answer.replace(signed, other)
    signed.remove(signature)
    other.insert(1, signature)
    etree.SubElement(signature, f"{{{NAMES['ds']}}}Object").append(signed)


def same_id(answer: Any) -> None:
    """Whoever looks the ID up finds the first element that has it."""
    answer.set("ID", of(answer, "saml:Assertion").get("ID"))


def sign_the_answer_alone(provider: SamlProvider) -> None:
    assert provider.signer is not None
    signer, provider.signer = provider.signer, None

    def sign(answer: Any) -> None:
        answer.insert(1, etree.Element(f"{{{NAMES['ds']}}}Signature", Id="placeholder"))
        signed = signer.sign(
            copy.deepcopy(answer), key=provider.signing_key, cert=provider.certificate, reference_uri=answer.get("ID"),
            id_attribute="ID",
        )  # fmt: skip
        answer[:] = signed[:]

    provider.before_signing = sign


def sign_by_another(provider: SamlProvider) -> None:
    """With its own certificate beside the signature."""
    provider.signing_key, provider.certificate = key_pair("another")


def sign_by_sha1(provider: SamlProvider) -> None:
    assert provider.signer is not None
    provider.signer = Sha1Signer(
        method=provider.signer.construction_method,
        signature_algorithm=SignatureMethod.RSA_SHA1,
        digest_algorithm=DigestAlgorithm.SHA1,
        c14n_algorithm=provider.signer.c14n_alg,
    )


def transform_by_a_program(answer: Any) -> None:
    """A signature may bring a program that its verifier runs."""
    transforms = of(answer, "saml:Assertion/ds:Signature/ds:SignedInfo/ds:Reference/ds:Transforms")
    etree.SubElement(transforms, f"{{{NAMES['ds']}}}Transform", Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116")


def let_nobody_in(provider: SamlProvider) -> None:
    def refuse(answer: Any) -> None:
        of(answer, "samlp:Status/samlp:StatusCode").set("Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")
        remove(answer, "saml:Assertion")

    provider.signer, provider.before_signing = None, refuse


def before(hook: Callable[[Any], Any]) -> Callable[[SamlProvider], None]:
    return lambda provider: setattr(provider, "before_signing", hook)


def after(hook: Callable[[Any], Any]) -> Callable[[SamlProvider], None]:
    return lambda provider: setattr(provider, "after_signing", hook)


CONDITIONS = "saml:Assertion/saml:Conditions"
AUDIENCE = f"{CONDITIONS}/saml:AudienceRestriction/saml:Audience"
CONFIRMED = "saml:Assertion/saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData"
LONG_AGO, FAR_OFF = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
PLACE = "has not one assertion in its place"
ADDRESS = "it is for another address"

REFUSED: dict[str, tuple[Callable[[SamlProvider], Any], str]] = {
    "signed by another key": (
        sign_by_another,
        "the signature is not the provider's",
    ),
    "changed after it was signed": (
        after(telling("saml:Assertion/saml:Subject/saml:NameID", "8")),
        "the signature is not the provider's",
    ),
    "not signed": (lambda provider: setattr(provider, "signer", None), "the assertion is not signed"),
    "signed around the assertion": (sign_the_answer_alone, "the assertion is not signed"),
    "signed with SHA-1": (sign_by_sha1, "not accepted, such as SHA-1"),
    "signed through a program": (after(transform_by_a_program), "not accepted"),
    "wrapped: a second assertion": (after(wrap_beside), PLACE),
    "wrapped: moved away": (after(wrap_in_extensions), PLACE),
    "wrapped: in its signature": (after(wrap_in_signature), PLACE),
    "wrapped: an ID twice": (after(same_id), "two elements have the same ID"),
    "another audience": (before(telling(AUDIENCE, "https://another.example")), "it is for another program"),
    "no audience": (
        before(lambda answer: remove(answer, f"{CONDITIONS}/saml:AudienceRestriction")),
        "it is for another program",
    ),
    "too old": (before(setting(CONDITIONS, "NotOnOrAfter", LONG_AGO)), "it is too old"),
    "too old to confirm": (before(setting(CONFIRMED, "NotOnOrAfter", LONG_AGO)), "it is too old"),
    "without an end": (before(without(CONFIRMED, "NotOnOrAfter")), "has no end"),
    "not valid yet": (before(setting(CONDITIONS, "NotBefore", FAR_OFF)), "it is not valid yet"),
    "for another address": (before(setting(".", "Destination", "https://another.example/acs/")), ADDRESS),
    "for a longer address": (before(setting(".", "Destination", f"{ACS}more/")), ADDRESS),
    "received at a longer address": (before(setting(CONFIRMED, "Recipient", f"{ACS}more/")), ADDRESS),
    "of another issuer": (before(telling("saml:Assertion/saml:Issuer", "https://evil.example")), "another provider"),
    "asked for by nobody": (
        lambda provider: setattr(provider, "answers_question", False),
        "it answers no question",
    ),
    "asked for in the part that is not signed": (before(without(CONFIRMED, "InResponseTo")), "it answers no question"),
    "another question inside": (before(setting(CONFIRMED, "InResponseTo", "another")), "of another question"),
    "an identifier of one log-in": (
        lambda provider: setattr(
            provider, "subject_format", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
        ),
        "of this log-in alone (transient)",
    ),
    "of nobody": (before(telling("saml:Assertion/saml:Subject/saml:NameID", " ")), "it names nobody"),
    "no success": (let_nobody_in, "the provider let nobody in"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_answer_that_is_not_the_providers_to_this_question_lets_nobody_in(provider: SamlProvider, case: str) -> None:
    change, reason = REFUSED[case]
    change(provider)
    client = Client()
    received = post(answer_to(client))
    assert client.get(received["Location"])["Location"] == "/accounts/login/"
    assert person_of(client) == ""
    assert not received.cookies
    assert not User.objects.exists()
    (failure,) = failures()
    assert failure.startswith("Ward log-in: ") and reason in failure


DTD = '<!DOCTYPE a [<!ENTITY file SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (f"{DTD}<samlp:Response xmlns:samlp='{NAMES['samlp']}'>&file;</samlp:Response>", "XML with a DTD"),
        ("no XML", "no XML"),
        ("<a/>", "it is not valid"),
        ("x" * saml_assertions.LARGEST_ANSWER, "too large"),
    ],
)
def test_what_is_no_answer_is_refused(provider: SamlProvider, sent: str, reason: str) -> None:
    assert NOT_SENT in one_line(bring(Client(), base64.b64encode(sent.encode()).decode()))
    (failure,) = failures()
    assert reason in failure


def test_an_answer_is_good_once(provider: SamlProvider) -> None:
    client = Client()
    answer = answer_to(client)
    bring(client, answer)
    client.post("/accounts/logout/")
    assert NOT_SENT in one_line(bring(client, answer))
    assert "it was used already" in failures()[0]
    cache.clear()  # as when the broker was restarted: the question was answered all the same
    assert NOT_SENT in one_line(bring(client, answer))
    assert "this browser did not ask" in failures()[1]
    assert person_of(client) == ""


def test_an_answer_lets_in_the_browser_that_asked(provider: SamlProvider) -> None:
    answer = answer_to(Client())
    victim = Client()
    victim.get("/accounts/saml/")
    assert NOT_SENT in one_line(bring(victim, answer))
    assert person_of(victim) == ""
    assert "this browser did not ask" in failures()[0]


def test_many_failures_from_one_address_are_refused_and_end_in_the_audit(provider: SamlProvider, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login": "300/m/ip", "wrong_password": "5/5m/key,3/5m/ip"}
    assert [post("bm8gWE1M").status_code for _ in range(5)] == [302, 302, 302, 429, 429]
    assert len(failures()) == 3
    assert post(answer_to(Client())).status_code == 429
    wrong = Client().post("/accounts/login/", {"login": "kim", "password": "wrong"})
    assert "Too many wrong passwords" in one_line(wrong), "they count together"


# --- beside it ----------------------------------------------------------------------------------


def test_passwords_of_administrators_work_while_the_provider_is_away(settings: Any, tmp_path: Path) -> None:
    with saml_identity_provider.running() as away:
        settings.SOCIALACCOUNT_PROVIDERS = saml_identity_provider.settings_for(away)
    settings.PASSWORDS = "administrators"
    factories.user("root", is_superuser=True, is_staff=True)
    factories.user("local", Role.MANAGER)
    client = Client()
    leave = client.get("/accounts/saml/")
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(leave["Location"])
    page = client.post("/accounts/login/", {"login": "local", "password": factories.PASSWORD}, follow=True)
    assert "Passwords are for administrators here. Log in with Ward log-in." in one_line(page)
    client.post("/accounts/login/", {"login": "root", "password": factories.PASSWORD})
    assert person_of(client) == "root"


def test_both_providers_are_offered(provider: SamlProvider, settings: Any) -> None:
    with identity_provider.running() as other:
        settings.SOCIALACCOUNT_PROVIDERS |= identity_provider.settings_for(other)
        settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]["name"] = "University"
        page = Client().get("/accounts/login/").text
        assert "Log in with University" in page and 'href="/accounts/sso/"' in page
        assert "Log in with Ward log-in" in page and 'href="/accounts/saml/"' in page
        client, _ = log_in()
        page = client.get("/accounts/password/").text
        assert "You can log in with Ward log-in." in page
        assert "Connect your account with University" in page
        assert "you log in with University or Ward log-in" in page


def test_the_metadata_say_what_the_provider_has_to_know(provider: SamlProvider) -> None:
    answer = Client().get("/accounts/saml/metadata/")
    assert answer["Content-Type"] == "application/samlmetadata+xml"
    tree = etree.fromstring(answer.content)
    names = {"md": "urn:oasis:names:tc:SAML:2.0:metadata"}
    assert dict(tree.attrib) == {"entityID": "http://testserver/accounts/saml/metadata/"}
    assert tree.find("md:SPSSODescriptor", names).get("WantAssertionsSigned") == "true"
    (consumer,) = tree.iterfind(".//md:AssertionConsumerService", names)
    assert (consumer.get("Location"), consumer.get("Binding")) == (
        ACS,
        "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
    )
    assert tree.find(".//md:SingleLogoutService", names) is None


def test_below_a_path_the_provider_is_told_the_path(provider: SamlProvider, settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/hilum"
    with override_script_prefix("/hilum/"):  # as the server does for each request, and the client does not
        metadata = Client().get("/accounts/saml/metadata/").text
        received = post("bm8gWE1M")
    assert 'entityID="http://testserver/hilum/accounts/saml/metadata/"' in metadata
    assert 'Location="http://testserver/hilum/accounts/saml/acs/"' in metadata
    assert received["Location"] == "/hilum/accounts/saml/acs/finish/"


def test_without_a_provider_its_addresses_say_so() -> None:
    assert "/accounts/saml/" not in Client().get("/accounts/login/").text
    for address in ("", "acs/finish/", "metadata/"):
        page = Client().get(f"/accounts/saml/{address}", follow=True)
        assert "has no single sign-on" in one_line(page)
    received = post("bm8gWE1M")
    assert (received["Location"], dict(received.cookies)) == ("/accounts/login/", {})
