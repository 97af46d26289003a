"""The base of everything that has an address."""

import uuid

from django.db import models


class Addressed(models.Model):
    """A row with a UUID for its URL and the time of its creation."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True
