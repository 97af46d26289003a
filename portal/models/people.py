"""People, sites, and who may do what where."""

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from portal.models.addressed import Addressed


class User(AbstractUser):
    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    theme = models.CharField(max_length=5, choices=[("light", "Light"), ("dark", "Dark")], default="light")
    label_keys = models.JSONField(
        default=dict, blank=True
    )  # command -> key, where not the default (portal.labels.keys)
    tile_width = models.PositiveSmallIntegerField(default=160)  # of the films of a grid, in pixels of the page
    mail_at_run_end = models.BooleanField(default=False)  # where the installation sends mail

    def clean(self) -> None:
        """Names that differ in case alone are one name at log-in, which then could not say whose account is meant."""
        super().clean()
        twins = User.objects.filter(username__iexact=self.username).exclude(username=self.username)
        is_kept = User.objects.filter(pk=self.pk, username=self.username).exists()
        if not is_kept and (twin := twins.exclude(pk=self.pk).first()):
            raise ValidationError({"username": f"There is a person {twin.username} already; take another name."})


class Site(Addressed):
    """A hospital or group. Every row belongs to a single site, and nothing is shared between sites."""

    name = models.CharField(max_length=100, unique=True)
    findings = models.JSONField(default=list, blank=True)  # the findings to choose from; an empty list allows any
    # The test part of a split stays sealed until an analysis plan is locked, and until a second person has approved it.
    plan_before_test = models.BooleanField(default=False)
    second_person_for_test = models.BooleanField(default=False)
    quota_gib = models.PositiveIntegerField(null=True, blank=True)  # null: that of the installation's settings
    # of the key of its pseudonyms (portal.intake.pseudonym_key); blank before the first import
    key_fingerprint = models.CharField(max_length=16, blank=True, editable=False)
    # that key, encrypted under the installation's secret; blank while it follows from the secret itself
    sealed_key = models.CharField(max_length=200, blank=True, editable=False)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    CURATOR = "curator", "Curator"
    READER = "reader", "Reader"
    ADJUDICATOR = "adjudicator", "Adjudicator"
    ANALYST = "analyst", "Analyst"
    MANAGER = "manager", "Manager"
    BROKER = "broker", "Honest broker"  # the only role that may turn a pseudonym back into a patient


class Membership(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    site = models.ForeignKey(Site, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "site", "role"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} at {self.site}"


class ApiToken(Addressed):
    """What a script signs in with at the API, in the name of its owner. Its secret is shown once and not kept."""

    class Scope(models.TextChoices):
        READ = "read", "Reads"
        WRITE = "write", "Reads and writes"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=60)
    scope = models.CharField(max_length=5, choices=Scope)
    sha256 = models.CharField(max_length=64, unique=True, editable=False)  # of the secret, which is random
    start = models.CharField(max_length=12, editable=False)  # of the secret, by which its owner knows it
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)  # to the minute
    refused_at = models.DateTimeField(null=True)  # the last use after its end that the audit has

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(scope__in=["read", "write"]), name="api_token_known_scope")]

    def __str__(self) -> str:
        return self.name
