"""Log-in through the providers of the settings, OpenID Connect and SAML: who is let in, as whom, and with what.

Whoever the provider names gets an account without any role, to which a manager gives roles: a log-in makes no member.
An account that was there before is used only if its owner connected it, or, where HILUM_OIDC_LINK_EMAIL allows it, if
the provider vouches for its mail address. Nobody becomes an administrator by a mail address."""

import logging
import secrets
from dataclasses import dataclass
from typing import Any

import jwt
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.base import AuthError
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import redirect
from django.urls import reverse

from portal.models import User
from portal.people import audit

PROVIDER = "sso"  # that of OpenID Connect, in the rows of accounts; a SAML provider has its entity ID there
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
NONE = "This installation has no single sign-on. Log in with your password."
FAILED = "The log-in at {name} failed or took too long. Try it again."
_VIEWS = {"openid_connect": "openid_connect_login", "saml": "saml_login"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SignOn:
    """A way in: its name as people know it, the view that leads to it, and its name in the rows of accounts."""

    name: str
    view: str
    provider: str


def sign_ons() -> list[SignOn]:
    """The ways in beside passwords: none, one, or OpenID Connect and SAML."""
    return [
        SignOn(name=app["name"], view=view, provider=app["provider_id"])
        for kind, view in _VIEWS.items()
        for app in settings.SOCIALACCOUNT_PROVIDERS.get(kind, {}).get("APPS", [])
    ]


def provider_names() -> str:
    """For a sentence; empty without a provider."""
    return " or ".join(way.name for way in sign_ons())


def is_connected(person: User | AnonymousUser, provider: str = "") -> bool:
    """With this provider, or with any."""
    accounts = SocialAccount.objects.filter(user_id=person.pk)
    return bool((accounts.filter(provider=provider) if provider else accounts).exists())


class SignOnAdapter(DefaultSocialAccountAdapter):
    error_messages = {
        **DefaultSocialAccountAdapter.error_messages,
        "connected_other": "That log-in belongs to another account of Hilum already.",
    }

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        if sociallogin.is_existing or sociallogin.state.get("process") == "connect":
            return
        email, is_verified = _address_of(sociallogin)
        sociallogin.email_addresses = []  # of which allauth would ask to choose another one
        owners = list(User.objects.filter(email__iexact=email)[:2]) if email else []
        if not owners:
            return
        if (
            len(owners) == 1
            and is_verified
            and settings.OIDC_LINK_EMAIL
            and _may_be_linked(owners[0], sociallogin.account.provider)
        ):
            with transaction.atomic():
                sociallogin.connect(request, owners[0])
                audit.record(verb="link account", site=None, actor=None, target=owners[0], after={"by": "mail address"})
            return
        raise ImmediateHttpResponse(
            to_log_in(
                request,
                "There is an account of Hilum with your mail address already. Log in with its password, and connect it "
                f"with {sociallogin.provider.name} under your name.",
            )
        )

    @transaction.atomic
    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Any:
        person = super().save_user(request, sociallogin, form)
        after = {"username": person.username, "by": sociallogin.provider.name}
        audit.record(verb="make user", site=None, actor=None, target=person, after=after)
        return person

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("change-password")

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        *,
        error: Any = None,
        exception: Any = None,
        extra_context: Any = None,
    ) -> None:
        """Always answers with the log-in page, where a password works whatever the provider does."""
        if error == AuthError.CANCELLED:
            raise ImmediateHttpResponse(to_log_in(request, f"You cancelled the log-in at {provider.name}."))
        detail = request.GET.get("error", "")[:80] or repr(exception)[:300]
        note_failure(request, provider.name, "the provider's answer was refused", detail)
        raise ImmediateHttpResponse(to_log_in(request, FAILED.format(name=provider.name)))


class CheckedProvider(OpenIDConnectOAuth2Adapter):
    """Verifies the signature of every ID token, also of one that came directly from the provider, and that the facts
    about the person are of the person whom the token names."""

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> Any:
        id_token = kwargs["response"].get("id_token")
        if not id_token:
            raise OAuth2Error("The provider sent no ID token.")
        named = self._decode_id_token(app, id_token)
        facts = self._fetch_user_info(token.token)
        if facts.get("sub") != named["sub"]:
            raise OAuth2Error("The ID token and the facts about the person have different subjects.")
        login = self.get_provider().sociallogin_from_response(request, {"userinfo": facts, "id_token": named})
        login.account.extra_data = {}  # names and groups stay with the provider
        return login

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        try:
            signature = jwt.get_unverified_header(id_token).get("alg")
        except jwt.PyJWTError as error:
            raise OAuth2Error("The ID token is malformed.") from error
        if signature not in SIGNATURES:
            raise OAuth2Error(f"The ID token is signed by {str(signature)[:20]!r}.")
        decoded: dict[str, Any] = jwtkit.verify_and_decode(
            credential=id_token,
            keys_url=self.openid_config["jwks_uri"],
            issuer=self.openid_config["issuer"],
            audience=app.client_id,
            lookup_kid=jwtkit.lookup_kid_jwk,
        )
        return decoded


def are_too_many(request: HttpRequest) -> bool:
    """Log-ins and failed ones from this address, by password and through a provider counted together."""
    return not (
        ratelimit.consume(request, app="allauth.account", action="login", limit_get=True)
        and _count_failure(request, dry_run=True)
    )


def note_failure(request: HttpRequest, name: str, reason: str, detail: str) -> None:
    """Audited as often as wrong passwords from one address are, in words of ours; `detail`, which has some of whoever
    sent the answer, is for the log alone."""
    logger.warning("log-in by %s failed: %s (%s)", name, reason, detail)
    if _count_failure(request):
        audit.record(verb="fail to log in", site=None, actor=None, reason=f"{name}: {reason}")


def _count_failure(request: HttpRequest, *, dry_run: bool = False) -> bool:
    """False: there were too many. Nobody is named whose failures could be counted, so the key is another each time."""
    key = secrets.token_hex()
    rate = {"app": "allauth.account", "action": "wrong_password", "key": key}
    return bool(ratelimit.consume(request, **rate, dry_run=dry_run, limit_get=True))


def to_log_in(request: HttpRequest, sentence: str) -> Any:
    messages.warning(request, sentence)
    return redirect("change-password" if request.user.is_authenticated else "login")


def audit_connected(request: HttpRequest, sociallogin: Any, **_: Any) -> None:
    """By the person themselves; that by a mail address is audited where it is made."""
    if request.user.is_authenticated:
        audit.record(
            verb="link account", site=None, actor=sociallogin.user, target=sociallogin.user, after={"by": "the person"}
        )


def _address_of(sociallogin: Any) -> tuple[str, bool]:
    addresses = sociallogin.email_addresses
    return (addresses[0].email, bool(addresses[0].verified)) if addresses else ("", False)


def _may_be_linked(person: User, provider: str) -> bool:
    return person.is_active and not (person.is_staff or person.is_superuser or is_connected(person, provider))
