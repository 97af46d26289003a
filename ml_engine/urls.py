"""Addresses of this room's pages."""

from django.urls import URLPattern

app_name = "ml_engine"
urlpatterns: list[URLPattern] = []
