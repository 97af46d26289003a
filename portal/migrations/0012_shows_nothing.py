from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def widen_warning(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """SQLite does not limit text, and would make the table anew, without the triggers that guard it."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE portal_image ALTER COLUMN warning TYPE varchar(1000)")


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0013_acquired_day"),
    ]

    operations = [
        # may be null, so that SQLite adds a column instead of making the table anew
        migrations.AddField(model_name="image", name="shows_nothing", field=models.BooleanField(null=True)),
        migrations.AddIndex(
            model_name="image",
            index=models.Index(
                condition=models.Q(("shows_nothing", True)), fields=["dataset"], name="image_shows_nothing"
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(widen_warning, migrations.RunPython.noop)],
            state_operations=[
                migrations.AlterField(
                    model_name="image", name="warning", field=models.CharField(blank=True, max_length=1000)
                )
            ],
        ),
    ]
