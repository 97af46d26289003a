from django.apps import AppConfig


class MlEngineConfig(AppConfig):
    name = "ml_engine"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ml_engine.runs import run_conditions  # noqa: F401  (adds its checks)
        from ml_engine.runs.restored_runs import go_on, named_files
        from ml_engine.runs.run_files import bytes_of_runs
        from ml_engine.runs.run_metrics import run_metrics
        from ml_engine.views.downloads import SENT
        from portal.backups.named_files import name_also
        from portal.backups.restoring import do_after_restore
        from portal.intake.quotas import count_also
        from portal.people.downloads import sent_by
        from portal.project.metrics import measure_also

        measure_also(run_metrics)
        sent_by(SENT)
        count_also("runs", bytes_of_runs)
        name_also(named_files)
        do_after_restore(go_on)
