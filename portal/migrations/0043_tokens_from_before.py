"""Tokens of rest_framework.authtoken, which were stored as they are and never ended, go on as tokens that end."""

import hashlib
from datetime import timedelta

from django.db import migrations
from django.utils import timezone

OLD = "authtoken_token"
DAYS = 90


def take_over(apps, schema_editor):
    connection = schema_editor.connection
    if OLD not in connection.introspection.table_names():
        return
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT key, user_id FROM {OLD}")  # noqa: S608
        rows = cursor.fetchall()
        apps.get_model("portal", "ApiToken").objects.bulk_create(
            apps.get_model("portal", "ApiToken")(
                owner_id=owner,
                name="from before an upgrade",
                scope="write",
                sha256=hashlib.sha256(key.encode()).hexdigest(),
                start=key[:12],
                expires_at=timezone.now() + timedelta(days=DAYS),
            )
            for key, owner in rows
        )
        cursor.execute(f"DROP TABLE {OLD}")


class Migration(migrations.Migration):
    dependencies = [("portal", "0042_api_tokens")]

    operations = [migrations.RunPython(take_over, migrations.RunPython.noop)]
