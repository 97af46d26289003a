"""The admin: people, sites and memberships are made here; everything else is to look at."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from portal.models import (
    AuditEvent,
    Dataset,
    Image,
    LabelEvent,
    Membership,
    Patient,
    QuarantinedFile,
    Site,
    Split,
    Upload,
    User,
)

admin.site.site_header = "Hilum"
admin.site.site_title = "Hilum"


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 1


@admin.register(User)
class HilumUserAdmin(UserAdmin):
    inlines = [MembershipInline]


@admin.register(Site)
class SiteAdmin(admin.ModelAdmin):
    list_display = ["name", "created_at"]


class LookOnly(admin.ModelAdmin):
    """The database refuses changes to most of these; their pages are where they change."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AuditEvent)
class AuditEventAdmin(LookOnly):
    list_display = ["created_at", "site", "actor", "verb", "target_type", "target_uuid"]
    list_filter = ["site", "verb"]


@admin.register(Dataset)
class DatasetAdmin(LookOnly):
    list_display = ["name", "site", "created_at"]


@admin.register(Image)
class ImageAdmin(LookOnly):
    list_display = ["uuid", "dataset", "view_position", "created_at"]
    list_filter = ["dataset"]


@admin.register(LabelEvent)
class LabelEventAdmin(LookOnly):
    list_display = ["created_at", "image", "value", "source", "author"]
    list_filter = ["source", "value"]


admin.site.register([Patient, QuarantinedFile, Split, Upload], LookOnly)
