from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from portal.project.readiness import readyz
from portal.views import accounts, frame

handler400 = "portal.views.frame.bad_request"
handler403 = "portal.views.frame.forbidden"
handler404 = "portal.views.frame.not_found"
handler500 = "portal.views.frame.broken"

urlpatterns = [
    path("healthz", frame.healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("accounts/login/", accounts.LogIn.as_view(), name="login"),
    path("accounts/logout/", accounts.LogOut.as_view(), name="logout"),
    path("accounts/password/", accounts.ChangePassword.as_view(), name="change-password"),
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
