"""Log-in, the first password, and the change of a password."""

from typing import Any

from allauth.account.views import LoginView, PasswordResetView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import LogoutView, PasswordChangeView, PasswordResetConfirmView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse_lazy

from portal.models import User
from portal.people import audit
from portal.people.lost_passwords import LostPasswordForm
from portal.people.sessions import why_ended
from portal.people.single_sign_on import is_connected, provider_names, sign_ons
from portal.people.wrong_passwords import remember_browser

DIALOG = "Hilum-Dialog"  # a header; also in static/js/labelling/login.js


class LogIn(LoginView):
    template_name = "portal/login.html"

    def _redirect_to_pending_stage(self, request: HttpRequest, stage: Any) -> Any:
        """Only a page that a person opens goes on to the second factor. What a page fetches, such as the next film,
        would lead there too and make a new challenge, and the answer of a key to the one before would be refused. The
        dialog of a session that ended says so itself, since browsers state the mode by https alone."""
        if DIALOG in request.headers or request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate":
            return None
        return super()._redirect_to_pending_stage(request, stage)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Without allauth's own links, to pages that Hilum does not have. `next` is an address of this host."""
        return super(LoginView, self).get_context_data(
            **kwargs,
            next=self.get_next_url() or "",
            sign_ons=sign_ons(),
            is_new=not sign_ons() and not User.objects.exists(),
            session_ended=why_ended(self.request),
        )


class LogOut(LogoutView):
    """Also of a person who gave the password and not the second factor, and would be asked for it again."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if isinstance(request.user, User):
            audit.record(verb="log out", site=None, actor=request.user, target=request.user)
        return super().post(request, *args, **kwargs)


class ChangePassword(PasswordChangeView):
    """Other sessions of the person end; this one goes on."""

    template_name = "portal/change_password.html"
    success_url = reverse_lazy("portal:home")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            **kwargs,
            sends_mail=bool(settings.EMAIL_HOST),
            provider_names=provider_names(),
            sign_ons=[(way, is_connected(self.request.user, way.provider)) for way in sign_ons()],
        )

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        audit.record(verb="change own password", site=None, actor=form.user, target=form.user)
        messages.success(self.request, "Your password is changed.")
        return response


class FirstPassword(PasswordResetConfirmView):
    """The link that a manager passes on: the person chooses a password, once, and their browser is known from then on,
    so that nobody who guesses at the account keeps them out."""

    template_name = "portal/first_password.html"
    success_url = reverse_lazy("login")

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        audit.record(verb="choose own password", site=None, actor=form.user, target=form.user)
        messages.success(self.request, f"Your password is set. Log in as {form.user.username}.")
        remember_browser(self.request, response, form.user.username)
        return response


class LostPassword(PasswordResetView):
    """A link by mail; where the installation sends none, the page says who gives one."""

    template_name = "portal/lost_password.html"
    form_class = LostPasswordForm
    success_url = reverse_lazy("lost-password-sent")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not settings.EMAIL_HOST:
            return self.get(request, *args, **kwargs)
        return super().post(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Without allauth's own links, to pages that Hilum does not have."""
        return super(PasswordResetView, self).get_context_data(**kwargs, sends_mail=bool(settings.EMAIL_HOST))
