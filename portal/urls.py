from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from django.views.generic import TemplateView
from drf_spectacular.views import SpectacularAPIView

from portal.project.metrics import metrics
from portal.project.readiness import readyz
from portal.views import accounts, frame, saml, second_factors, single_sign_on

handler400 = "portal.views.frame.bad_request"
handler403 = "portal.views.frame.forbidden"
handler404 = "portal.views.frame.not_found"
handler429 = "portal.views.frame.too_many"  # allauth asks for it
handler500 = "portal.views.frame.broken"

urlpatterns = [
    path("healthz", frame.healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("accounts/login/", accounts.LogIn.as_view(), name="login"),
    path("accounts/login/", accounts.LogIn.as_view(), name="account_login"),  # as allauth calls it
    path(
        "accounts/again/",
        TemplateView.as_view(template_name="portal/logged_in_again.html"),
        name="logged-in-again",
    ),
    path("accounts/confirm/", second_factors.Confirm.as_view(), name="account_reauthenticate"),
    path("accounts/second-factor/", include("portal.second_factor_pages")),
    # under the names that allauth uses; the provider is told the second address
    path("accounts/sso/", single_sign_on.leave, {"provider_id": "sso"}, name="openid_connect_login"),
    path("accounts/sso/callback/", single_sign_on.come_back, {"provider_id": "sso"}, name="openid_connect_callback"),
    # an administrator enters the second and the last one at the provider
    path("accounts/saml/", saml.leave, name="saml_login"),
    path("accounts/saml/acs/", saml.receive, name="saml_acs"),
    path("accounts/saml/acs/finish/", saml.finish, name="saml_finish_acs"),
    path("accounts/saml/metadata/", saml.metadata, name="saml_metadata"),
    path("accounts/logout/", login_not_required(accounts.LogOut.as_view()), name="logout"),
    path("accounts/password/", accounts.ChangePassword.as_view(), name="change-password"),
    path("accounts/password/lost/", accounts.LostPassword.as_view(), name="lost-password"),
    path(
        "accounts/password/lost/sent/",
        login_not_required(
            TemplateView.as_view(template_name="portal/lost_password.html", extra_context={"sent": True})
        ),
        name="lost-password-sent",
    ),
    path(
        "accounts/invitation/<uidb64>/<token>/",
        login_not_required(accounts.FirstPassword.as_view()),
        name="invitation",
    ),
    # The admin has its own log-in page; redirect it, so that there is only one.
    path("admin/login/", frame.to_log_in),
    path("admin/", admin.site.urls),
    path("api/v1/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/v1/", include("portal.api.urls")),
    path("api/v1/", include("ml_engine.api.urls")),
    path("api/v1/", include("analysis.api.urls")),
    path("", include("portal.pages")),
    path("", include("ml_engine.urls")),
    path("", include("analysis.urls")),
]
