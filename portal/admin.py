"""The admin: people, sites and memberships are created here; everything else is read-only."""

from collections.abc import Iterable
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialApp, SocialToken
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from portal.models import (
    AuditEvent,
    Dataset,
    Exposure,
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
from portal.people import audit
from portal.people.exposure import record_exposure
from portal.people.second_factors import remove_all

admin.site.site_header = "Hilum"
admin.site.site_title = "Hilum"
admin.site.unregister(Authenticator)  # its rows hold what codes are made of; see portal.people.second_factors
admin.site.unregister([SocialApp, SocialToken])  # the provider is of the settings, and no token of its is kept
admin.site.unregister(EmailAddress)  # addresses are fields of a person; none is used to log in


# Fields whose values the audit records. Of all others, such as passwords and addresses, it records only the change.
_RECORDED = frozenset({"name", "quota_gib", "username", "is_active", "is_staff", "is_superuser"})


class Audited(admin.ModelAdmin):
    """Records in the audit who created, changed or deleted a row, in the same transaction."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        recorded = [name for name in form.changed_data if name in _RECORDED]
        after = {name: form.cleaned_data[name] for name in recorded}
        if not change:
            self._record(request, "make", obj, after=after)
        elif form.changed_data:
            others = sorted(set(form.changed_data) - _RECORDED)
            before = {name: form.initial.get(name) for name in recorded}
            self._record(request, "change", obj, before=before, after=after | ({"other": others} if others else {}))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        old_roles = {role.pk: str(role) for role in formset.queryset.select_related("user", "site")}
        super().save_formset(request, form, formset, change)
        changed = [role for role, _ in formset.changed_objects]
        for verb, roles in (
            ("give role", formset.new_objects),
            ("change role", changed),
            ("take role", formset.deleted_objects),
        ):
            for role in roles:
                after = None if verb == "take role" else {"role": str(role)}
                before = None if verb == "give role" else {"role": old_roles.get(role.pk, str(role))}
                audit.record(
                    verb=verb, site=role.site, actor=_actor(request), target=role.user, before=before, after=after
                )

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            roles = sorted(str(role) for role in obj.memberships.select_related("user", "site"))
            self._record(request, "delete", obj, before={"name": str(obj), "roles": roles})
            super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        with transaction.atomic():
            for obj in queryset:
                self.delete_model(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj != request.user and super().has_delete_permission(request, obj)

    def _record(self, request: HttpRequest, verb: str, obj: Any, **values: Any) -> None:
        # The event of a deleted site cannot refer to it.
        site = obj if isinstance(obj, Site) and verb != "delete" else None
        name = str(obj._meta.verbose_name)
        audit.record(verb=f"{verb} {name}", site=site, actor=_actor(request), target=obj, **values)


def _actor(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 1


@admin.register(User)
class HilumUserAdmin(Audited, UserAdmin):
    inlines = [MembershipInline]
    actions = ["remove_second_factors"]

    @admin.action(description="Remove all second factors of the selected people", permissions=["change"])
    def remove_second_factors(self, request: HttpRequest, queryset: Any) -> None:
        removed = [person.username for person in queryset if remove_all(person=person, author=_actor(request))]
        self.message_user(request, f"Removed of {', '.join(removed) or 'nobody: none of them had one'}.")

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002 - Django's name
        with transaction.atomic():
            person = User.objects.filter(pk=id).first() if id.isdecimal() else None
            response = super().user_change_password(request, id, form_url)
            if person is not None and person.password != User.objects.get(pk=person.pk).password:
                self._record(request, "set password of", person)
        return response


@admin.register(Site)
class SiteAdmin(Audited):
    list_display = ["name", "created_at"]


def _record_shown(request: HttpRequest, rows: Iterable[Any]) -> None:
    """Record that the person is shown what these rows say of films: labels, readings, escalations, the audit."""
    telling = [row for row in rows if not isinstance(row, Image)]
    films = {row.image_id for row in telling if getattr(row, "image_id", None)}
    audit_events = [row for row in telling if isinstance(row, AuditEvent) and row.target_type == "image"]
    audited = [event.target_uuid for event in audit_events if event.target_uuid is not None]
    films |= set(Image.objects.filter(uuid__in=audited).values_list("pk", flat=True))
    record_exposure(_actor(request), Exposure.Kind.LABEL, films)


class LookOnly(admin.ModelAdmin):
    """Read-only: the database refuses changes to most of these tables, and the others change on their own pages."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        changes = (getattr(response, "context_data", None) or {}).get("cl")
        if changes is not None:
            _record_shown(request, changes.result_list)
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        response = super().change_view(request, object_id, form_url, extra_context)
        shown = self.get_object(request, unquote(object_id))
        _record_shown(request, [shown] if shown is not None else [])
        return response

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
