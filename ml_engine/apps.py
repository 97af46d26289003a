from django.apps import AppConfig


class MlEngineConfig(AppConfig):
    name = "ml_engine"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ml_engine.runs import (
            collected,
            copies_here,
            retired_runs,
            run_conditions,  # noqa: F401  (adds its checks)
        )
        from ml_engine.runs.bucket_filling import fill, fill_canonicals
        from ml_engine.runs.restored_runs import files_of_bucket, go_on, named_files
        from ml_engine.runs.run_files import bytes_of_runs
        from ml_engine.runs.run_metrics import run_metrics
        from ml_engine.views.downloads import SENT
        from portal.backups.named_files import name_also, store_also
        from portal.backups.restoring import do_after_restore
        from portal.intake.bucket_objects import fill_also
        from portal.intake.quotas import count_also
        from portal.people.downloads import sent_by
        from portal.project.metrics import measure_also
        from portal.retention.collector import collect_also, collect_objects_also
        from portal.retention.copies import copies_also, made_before_the_last_erasure, outdated_also

        measure_also(run_metrics)
        sent_by(SENT)
        count_also("runs", bytes_of_runs)
        name_also(named_files)
        store_also(files_of_bucket)
        fill_also(fill)
        fill_also(fill_canonicals)
        do_after_restore(go_on)
        for kind in collected.kinds():
            collect_also(kind)
        collect_objects_also(copies_here.OF_BUCKET)
        collect_objects_also(copies_here.CANONICALS)
        copies_also(copies_here.copies)
        outdated_also(copies_here.remove_outdated)
        outdated_also(made_before_the_last_erasure("boards"))
        retired_runs.register()
