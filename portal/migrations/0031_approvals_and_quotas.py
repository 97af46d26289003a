"""Datasets name their ethics approval and the day until which it holds; sites may have a quota of disk space."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portal", "0030_kept_quarantine")]

    operations = [
        migrations.AddField("dataset", "ethics_approval", models.CharField(blank=True, max_length=200)),
        migrations.AddField("dataset", "expires_on", models.DateField(blank=True, null=True)),
        migrations.AddField("site", "quota_gib", models.PositiveIntegerField(blank=True, null=True)),
    ]
