from django.contrib import admin
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from portal.views import frame

handler400 = "portal.views.frame.bad_request"
handler403 = "portal.views.frame.forbidden"
handler404 = "portal.views.frame.not_found"
handler500 = "portal.views.frame.broken"

urlpatterns = [
    path("healthz", frame.healthz, name="healthz"),
    path(
        "accounts/login/",
        login_not_required(auth_views.LoginView.as_view(template_name="portal/login.html")),
        name="login",
    ),
    path("accounts/logout/", auth_views.LogoutView.as_view(), name="logout"),
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
