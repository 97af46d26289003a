from django.apps import AppConfig


class MlEngineConfig(AppConfig):
    name = "ml_engine"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ml_engine.runs.run_files import bytes_of_runs
        from portal.intake.quotas import count_also

        count_also("runs", bytes_of_runs)
