"""The dialog at the end of a session asks for what the log-in asks for, and labels that waited are sent afterwards."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.cache import cache
from playwright.sync_api import Locator, Page, expect

from portal.models import Dataset, LabelEvent, User
from tests.browser.axe import serious_findings
from tests.browser.test_queue import end_session, log_in_again, queue_of, values, wait_for_film, wait_until_saved
from tests.portal import factories
from tests.portal.people import identity_provider, saml_identity_provider
from tests.portal.people.one_time import code_of, made_up_key

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture
def kim(data_dir: Path) -> User:
    cache.clear()
    return factories.curator("kim")


@pytest.fixture
def label_late(page: Page, live_server: Any, sign_in: Any, kim: User) -> Any:
    """A function that gives the next film a label, after kim's session has ended; returns the dialog."""
    queue = queue_of(3, kim)

    def open_and_label(key: str, film: int) -> Locator:
        if film == 1:
            sign_in(kim)
            page.goto(f"{live_server.url}/queues/{queue.uuid}/")
        wait_for_film(page, film)
        end_session(page)
        page.keyboard.press(key)
        dialog = page.get_by_role("dialog", name="Your session has ended")
        expect(dialog).to_be_visible()
        return dialog

    return open_and_label


def give_key(page: Page, person: User) -> None:
    """A security key of the person, which Chromium plays."""
    private, name = ec.generate_private_key(ec.SECP256R1()), b"blue key"
    data = {"name": "blue", "credential": made_up_key(name, private)}
    Authenticator.objects.create(user=person, type=Authenticator.Type.WEBAUTHN, data=data)
    keys = page.context.new_cdp_session(page)
    keys.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    options |= {"automaticPresenceSimulation": True}
    made = keys.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    pkcs8 = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    credential = {
        "credentialId": base64.b64encode(name).decode(),
        "isResidentCredential": False,
        "rpId": "localhost",
        "privateKey": base64.b64encode(pkcs8).decode(),
        "signCount": 1,
    }
    keys.send("WebAuthn.addCredential", {"authenticatorId": made["authenticatorId"], "credential": credential})


def test_a_code_or_a_key_is_asked_for_in_the_dialog(page: Page, label_late: Any, kim: User) -> None:
    secret = generate_totp_secret()
    TOTP.activate(kim, secret)
    give_key(page, kim)
    dialog = label_late("s", 1)
    page.keyboard.type(factories.PASSWORD)
    page.keyboard.press("Enter")
    expect(dialog.get_by_label("Code of your authenticator app")).to_be_focused()
    expect(dialog.get_by_label("Password")).to_be_hidden()
    assert serious_findings(page) == []
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("This is not the code.")
    assert not LabelEvent.objects.exists()
    dialog.get_by_label("Code of your authenticator app").fill(code_of(secret))
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    wait_until_saved(page)
    assert values() == ["abnormal", "", ""]
    label_late("a", 2)
    page.keyboard.type(factories.PASSWORD)
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Use a security key").click()
    expect(dialog).to_be_hidden()
    wait_until_saved(page)
    assert values() == ["abnormal", "normal", ""]


def test_single_sign_on_opens_a_tab_and_only_its_person_is_let_on(
    page: Page, label_late: Any, kim: User, settings: Any
) -> None:
    kim.set_unusable_password()
    kim.save()
    SocialAccount.objects.create(user=kim, provider="sso", uid="7")
    SocialAccount.objects.create(user=factories.curator("lee"), provider="sso", uid="8")
    with identity_provider.running() as provider, saml_identity_provider.running() as second:
        settings.SOCIALACCOUNT_PROVIDERS = identity_provider.settings_for(provider)
        settings.SOCIALACCOUNT_PROVIDERS |= saml_identity_provider.settings_for(second)
        settings.SOCIALACCOUNT_PROVIDERS["saml"]["APPS"][0]["name"] = "the hospital"
        dialog = label_late("s", 1)
        expect(dialog.get_by_label("Password")).to_have_count(0)
        assert serious_findings(page) == []
        ways = dialog.get_by_role("link", name=re.compile("in a new tab")).all()
        boxes = [box for way in ways if (box := way.bounding_box())]
        assert len(boxes) == 2 and len({(box["x"], box["width"]) for box in boxes}) == 1  # one below the other
        provider.person = {"sub": "8", "preferred_username": "lee"}
        with page.expect_popup() as other:
            dialog.get_by_role("link", name="Log in with Ward log-in in a new tab").click()
        expect(other.value.get_by_role("heading", name="You are logged in as lee")).to_be_visible()
        expect(dialog).to_contain_text("Somebody else is logged in")
        assert not LabelEvent.objects.exists()
        other.value.get_by_role("button", name="Log out").click()
        expect(other.value.get_by_role("button", name="Log in", exact=True)).to_be_visible()
        provider.person = {"sub": "7", "preferred_username": "kim"}
        with page.expect_popup() as again:
            dialog.get_by_role("link", name="Log in with Ward log-in in a new tab").click()
        expect(again.value.get_by_role("heading", name="You are logged in as kim")).to_be_visible()
        expect(dialog).to_be_hidden()
        wait_until_saved(page)
    assert values() == ["abnormal", "", ""]


@pytest.fixture
def form_late(page: Page, live_server: Any, sign_in: Any, kim: User) -> Locator:
    """The form for a new dataset, filled in, after the page lay open and kim's session has ended."""
    page.clock.install()
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/")
    page.get_by_label("Name", exact=True).fill("Ward films")
    page.clock.fast_forward(120_000)
    end_session(page)
    page.get_by_role("button", name="Make dataset").click()
    dialog = page.get_by_role("dialog", name="Your session has ended")
    expect(dialog).to_be_visible()
    return dialog


def test_what_was_typed_into_a_form_is_sent_after_the_log_in(page: Page, form_late: Locator) -> None:
    page.keyboard.type(factories.PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Ward films")).to_be_visible()
    assert Dataset.objects.get().name == "Ward films"


def test_what_was_typed_into_a_form_stays_where_the_person_logs_in_later(page: Page, form_late: Locator) -> None:
    form_late.get_by_role("button", name="Later").click()
    expect(form_late).to_be_hidden()
    expect(page.get_by_label("Name", exact=True)).to_have_value("Ward films")
    assert not Dataset.objects.exists()


def test_the_button_that_was_pressed_counts_after_the_log_in(
    page: Page, live_server: Any, sign_in: Any, kim: User
) -> None:
    page.clock.install()
    sign_in(kim)
    page.goto(f"{live_server.url}/datasets/")
    page.clock.fast_forward(120_000)
    end_session(page)
    page.get_by_role("button", name="Dark").click()
    log_in_again(page)
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
