from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import OuterRef, Subquery


def fill(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Until now every look was one at an evaluation: its split and run are the look's."""
    evaluation = apps.get_model("analysis", "Evaluation").objects.filter(pk=OuterRef("evaluation"))
    apps.get_model("analysis", "TestLook").objects.update(
        split=Subquery(evaluation.values("split")), run=Subquery(evaluation.values("run"))
    )


class Migration(migrations.Migration):
    dependencies = [("analysis", "0005_looks_of_splits")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
