"""How accounts behave: no sign-up, wrong passwords limited and audited, and a sentence for a closed account."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from portal.models import User
from portal.people import audit

TOO_MANY = (
    "Too many wrong passwords. Wait five minutes, then try again; a manager of your site can give you a new link."
)


class Adapter(DefaultAccountAdapter):
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "too_many_login_attempts": TOO_MANY,
        "username_password_mismatch": (
            "The user name and password do not match an account. Check both; they are case-sensitive."
        ),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """No message about signing in or out: the page shows it."""

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Audited for an account that exists. What else was typed as a user name is not kept: it may be a password."""
        person = User.objects.filter(username=credentials.get("username") or "").first()
        audit.record(verb="fail to log in", site=None, actor=None, target=person)

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        messages.error(request, "This account is closed. An administrator can open it again.")
        return redirect("login")
