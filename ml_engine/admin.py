"""Runs and models are read-only in the admin: they change on their own pages."""

from django.contrib import admin

from ml_engine.models import AlignmentModel, CanonicalBoard, DetectorModel, HandMadeCanonical, HeadModel, Run
from portal.admin import LookOnly


@admin.register(Run)
class RunAdmin(LookOnly):
    list_display = ["created_at", "site", "name", "kind", "state", "stage", "attempt", "losses", "message"]
    list_filter = ["site", "kind", "state"]
    search_fields = ["name", "uuid"]


@admin.register(AlignmentModel, DetectorModel, HeadModel)
class ModelAdmin(LookOnly):
    list_display = ["created_at", "site", "run", "split", "sha256", "random_weights"]
    list_filter = ["site"]


@admin.register(CanonicalBoard, HandMadeCanonical)
class BoardAdmin(LookOnly):
    list_display = ["created_at", "site", "name"]
    list_filter = ["site"]
