from django.db import migrations

from portal.triggers import erasable


class Migration(migrations.Migration):
    dependencies = [
        ("analysis", "0015_external_validations"),
        ("portal", "0033_patient_erasures"),
    ]

    operations = [
        erasable("analysis_reading", "append-only"),
        erasable("analysis_worklistitem", "frozen"),
        erasable("analysis_heatmapuse", "append-only", "item_id", of="analysis_worklistitem"),
        erasable("analysis_escalation", "append-only"),
        erasable("analysis_escalationanswer", "append-only", "escalation_id", of="analysis_escalation"),
        erasable("analysis_adjudicationproposal", "append-only", "reading_id", of="analysis_reading"),
    ]
