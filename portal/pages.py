"""Addresses of the portal's own pages."""

from django.urls import path

from portal.views import frame

app_name = "portal"
urlpatterns = [
    path("", frame.home, name="home"),
    path("site/", frame.choose_site, name="choose-site"),
    path("theme/", frame.choose_theme, name="choose-theme"),
]
