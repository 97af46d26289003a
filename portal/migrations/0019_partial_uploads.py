import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0017_film_pairs"),
    ]

    operations = [
        migrations.CreateModel(
            name="PartialUpload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uuid", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("bytes_total", models.BigIntegerField()),
                ("ending", models.CharField(max_length=5)),
                ("files", models.PositiveIntegerField(null=True)),
                ("is_folder", models.BooleanField(default=False)),
                ("fingerprint", models.CharField(blank=True, max_length=64)),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "dataset",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="partial_uploads",
                        to="portal.dataset",
                    ),
                ),
                (
                    "upload",
                    models.OneToOneField(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="partial_upload",
                        to="portal.upload",
                    ),
                ),
            ],
            options={
                "ordering": ["created_at"],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("bytes_total__gt", 0)), name="partial_upload_has_bytes")
                ],
            },
        ),
    ]
