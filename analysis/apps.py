from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    name = "analysis"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let a semi-supervised head be fitted on readings, which `ml_engine` does not know, and a restored backup be
        rid of patients who were erased since."""
        from analysis.evaluation.erasing import erase_again
        from analysis.reading import confirmed_reads as readings
        from analysis.views.downloads import RECORDED_BY_THEIR_FUNCTIONS, SENT
        from ml_engine.runs import confirmed_reads
        from portal.backups.restoring import do_after_restore
        from portal.people.downloads import recorded_elsewhere, sent_by

        sent_by(SENT)
        recorded_elsewhere(*RECORDED_BY_THEIR_FUNCTIONS)
        confirmed_reads.register(readings.gather)
        do_after_restore(erase_again)

    def warm_up(self) -> None:
        """Load the drawing libraries before the first request; called by web processes."""
        from analysis.figures import as_json, comparison_figure

        as_json(comparison_figure([], theme="light", random_weights=False))
