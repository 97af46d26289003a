from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps
from django.db.models import F


def add(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """A worklist shows films of test with their scores, which is a look at the run's results there. Those made before
    this was counted get theirs: without one, the films' heatmaps would be refused to their readers."""
    worklists, looks = apps.get_model("analysis", "Worklist"), apps.get_model("analysis", "TestLook")
    with_test = worklists.objects.filter(
        items__image__split_images__member__part="test",
        items__image__split_images__member__split=F("run__detector__split"),
    )
    for worklist in with_test.select_related("run__detector").distinct().order_by("pk"):
        if not looks.objects.filter(run=worklist.run).exists():
            looks.objects.create(
                split_id=worklist.run.detector.split_id,
                run=worklist.run,
                actor_id=worklist.created_by_id,
                reason=f"worklist {worklist.name}"[:200],
            )


class Migration(migrations.Migration):
    dependencies = [("analysis", "0012_head_proposals"), ("portal", "0021_training_films")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
