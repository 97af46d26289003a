import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models

from portal.triggers import kept_once_decided, write_once, write_once_or_corrected

_WRITE_ONCE = write_once("portal_image")


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0019_partial_uploads"),
    ]

    operations = [
        migrations.CreateModel(
            name="HeaderDifference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("source_sha256", models.CharField(max_length=64)),
                ("fact", models.CharField(max_length=30)),
                ("old", models.JSONField()),
                ("new", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("taking", "Taking"),
                            ("taken", "Taken"),
                            ("dismissed", "Dismissed"),
                        ],
                        default="pending",
                        max_length=9,
                    ),
                ),
                ("decided_at", models.DateTimeField(null=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "image",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="header_differences",
                        to="portal.image",
                    ),
                ),
                (
                    "upload",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="header_differences",
                        to="portal.upload",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "pending")), fields=["fact"], name="header_difference_pending"
                    ),
                    models.Index(
                        condition=models.Q(("state", "taken")), fields=["decided_at"], name="header_difference_taken"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "pending")),
                        fields=("image", "fact"),
                        name="header_difference_pending_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at__isnull", True), ("state", "pending")),
                            models.Q(("decided_at__isnull", False), ("state__in", ["taking", "taken", "dismissed"])),
                            _connector="OR",
                        ),
                        name="header_difference_decided_at",
                    ),
                ],
            },
        ),
        migrations.RunPython(_WRITE_ONCE.reverse_code, _WRITE_ONCE.code),
        write_once_or_corrected(),
        kept_once_decided("portal_headerdifference"),
    ]
