"""Log-in, the first password, and the change of a password."""

from typing import Any

from allauth.account.views import LoginView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import LogoutView, PasswordChangeView, PasswordResetConfirmView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse_lazy

from portal.models import User
from portal.people import audit


class LogIn(LoginView):
    template_name = "portal/login.html"

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        if self.request.user.is_authenticated:
            audit.record(verb="log in", site=None, actor=self.request.user, target=self.request.user)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Without allauth's own links, to pages that Hilum does not have. `next` is an address of this host."""
        return super(LoginView, self).get_context_data(**kwargs, next=self.get_next_url() or "")


class LogOut(LogoutView):
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if isinstance(request.user, User):
            audit.record(verb="log out", site=None, actor=request.user, target=request.user)
        return super().post(request, *args, **kwargs)


class ChangePassword(PasswordChangeView):
    """Other sessions of the person end; this one goes on."""

    template_name = "portal/change_password.html"
    success_url = reverse_lazy("portal:home")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs, sends_mail=bool(settings.EMAIL_HOST))

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        audit.record(verb="change own password", site=None, actor=form.user, target=form.user)
        messages.success(self.request, "Your password is changed.")
        return response


class FirstPassword(PasswordResetConfirmView):
    """The link that a manager passes on: the person chooses a password, once."""

    template_name = "portal/first_password.html"
    success_url = reverse_lazy("login")

    @transaction.atomic
    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        audit.record(verb="choose own password", site=None, actor=form.user, target=form.user)
        messages.success(self.request, f"Your password is set. Log in as {form.user.username}.")
        return response
