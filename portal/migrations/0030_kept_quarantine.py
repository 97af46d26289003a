"""The bytes of a file in quarantine are kept for a while. Files that an earlier release put there have none."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portal", "0029_further_columns")]

    operations = [
        migrations.AddField("quarantinedfile", "kept_at", models.DateTimeField(null=True)),
        migrations.AddField("quarantinedfile", "bytes_kept", models.PositiveBigIntegerField(default=0)),
        migrations.AddField("quarantinedfile", "has_preview", models.BooleanField(default=False)),
    ]
