from datetime import timedelta

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.utils import timezone

from portal.triggers import append_only, write_once

# SQLite makes a table anew to change it, and drops its triggers with the old one: the guard goes first, and comes back.
_READINGS = append_only("analysis_reading")
_WORKLISTS = write_once("analysis_worklist")
_READERS = append_only("analysis_worklistreader")  # not any more: a reader hands a worklist back, and continues it
_DAYS = 28


def withhold_open_films(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Those who began a blinded worklist before 0.4.0 have this long to read the rest of it blinded."""
    Reader = apps.get_model("analysis", "WorklistReader")
    Item = apps.get_model("analysis", "WorklistItem")
    Reading = apps.get_model("analysis", "Reading")
    BlindedFilm = apps.get_model("portal", "BlindedFilm")
    until = timezone.now() + timedelta(days=_DAYS)
    for begun in Reader.objects.filter(worklist__blinded=True).select_related("worklist"):
        read = Reading.objects.filter(item__worklist_id=begun.worklist_id, reader_id=begun.reader_id).values("item_id")
        for image_id in (
            Item.objects.filter(worklist_id=begun.worklist_id).exclude(pk__in=read).values_list("image_id", flat=True)
        ):
            BlindedFilm.objects.create(
                person_id=begun.reader_id,
                image_id=image_id,
                source=begun.worklist.uuid,
                source_words=f"the worklist {begun.worklist.name}",
                expires_at=until,
            )
    Reader.objects.update(expires_at=until)


class Migration(migrations.Migration):
    dependencies = [("analysis", "0008_analysis_plans"), ("portal", "0009_blinding")]

    operations = [
        migrations.RunPython(_READINGS.reverse_code, _READINGS.code),
        migrations.RunPython(_WORKLISTS.reverse_code, _WORKLISTS.code),
        migrations.RunPython(_READERS.reverse_code, _READERS.code),
        # Readings that are there keep their flags; what their readers had been shown was not recorded.
        migrations.AddField("reading", "exposure_known", models.BooleanField(default=False)),
        migrations.AlterField("reading", "exposure_known", models.BooleanField(default=True)),
        migrations.AddField("reading", "label_shown", models.BooleanField(default=False)),
        migrations.AddField("worklist", "days_to_read", models.PositiveSmallIntegerField(default=_DAYS)),
        migrations.AddField("worklist", "washout_days", models.PositiveSmallIntegerField(default=28)),
        migrations.AddField("worklistreader", "expires_at", models.DateTimeField(null=True)),
        migrations.AddField("worklistreader", "handed_back_at", models.DateTimeField(null=True)),
        append_only("analysis_reading"),
        write_once("analysis_worklist"),
        migrations.RunPython(withhold_open_films, migrations.RunPython.noop),
    ]
