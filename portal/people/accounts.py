"""How accounts behave: no sign-up, wrong passwords limited and audited, and a sentence for a closed account."""

import logging
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured, PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.models import User
from portal.people import audit, sessions, wrong_passwords
from portal.people.single_sign_on import provider_names

logger = logging.getLogger(__name__)


class Adapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "too_many_login_attempts": wrong_passwords.TOO_MANY,
        "username_password_mismatch": (
            "The user name and password do not match an account. Check both; a password is case-sensitive."
        ),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """No message about signing in or out: the page shows it."""
        if not (message_template or "").startswith("account/"):
            super().add_message(request, level, message_template, *args, **kwargs)

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse | None:
        """Where passwords are of administrators alone, others go through the provider."""
        response: HttpResponse | None = super().pre_login(request, user, **kwargs)
        by_password = "sociallogin" not in (kwargs.get("signal_kwargs") or {})
        if response is None and by_password and settings.PASSWORDS == "administrators" and not user.is_superuser:
            audit.record(
                verb="fail to log in", site=None, actor=None, target=user, reason="passwords are of administrators"
            )
            messages.warning(request, f"Passwords are for administrators here. Log in with {provider_names()}.")
            return redirect("login")
        return response

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Not of a person without password and second factor, who logs in elsewhere: there is nothing to ask for."""
        person = context.request.user
        required: bool = super().is_reauthentication_required(app=app, **kwargs)
        return required and bool(self.get_reauthentication_methods(person))

    def get_client_ip(self, request: HttpRequest) -> str:
        """By which wrong passwords are counted. Where the header is not what HILUM_PROXIES says, that of the proxy: all
        who come through it are counted together then, and can log in."""
        try:
            address: str = super().get_client_ip(request)
        except (ImproperlyConfigured, PermissionDenied):
            sent = request.headers.get("X-Forwarded-For", "")
            logger.error(
                "HILUM_PROXIES is %d, and X-Forwarded-For has %d addresses: everybody who comes through this proxy is "
                "counted as one person who gives wrong passwords; set it to the number of proxies",
                settings.ALLAUTH_TRUSTED_PROXY_COUNT,
                len(sent.split(",")) if sent else 0,
            )
            return request.META.get("REMOTE_ADDR") or "unknown"
        return address

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        try:
            self._counted = wrong_passwords.count(request, str(credentials.get("username") or ""))
        except wrong_passwords.TooManyGuesses as refusal:
            raise ValidationError(str(refusal)) from refusal

    def _rollback_login_failed_rl_usage(self) -> None:
        """As allauth calls it, after a right password."""
        wrong_passwords.take_back(self._counted)

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        wrong_passwords.remember_browser(request, response, user.username)
        return response

    def login(self, request: HttpRequest, user: Any) -> None:
        """Every way in ends here: by password, with a second factor, through a provider."""
        super().login(request, user)
        sessions.start(request)
        ways = [str(record["method"]) for record in get_authentication_records(request, user)]
        audit.record(verb="log in", site=None, actor=user, target=user, after={"by": ways} if ways else None)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Audited for an account that exists. What else was typed as a user name is not kept: it may be a password."""
        person = User.objects.filter(username=credentials.get("username") or "").first()
        audit.record(verb="fail to log in", site=None, actor=None, target=person)

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        messages.error(request, "This account is closed. An administrator can open it again.")
        return redirect("login")
