from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    name = "analysis"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let a semi-supervised head be fitted on readings, which `ml_engine` does not know, a restored backup be rid
        of patients who were erased since, and the collector know what evaluations keep."""
        of patients who were erased since, and the portal's grid be sorted by scores."""
        from analysis.evaluation import score_orders
        from analysis.evaluation.erasing import erase_again
        from analysis.models import Evaluation
        from analysis.reading import confirmed_reads as readings
        from analysis.views.downloads import RECORDED_BY_THEIR_FUNCTIONS, SENT
        from ml_engine.runs import confirmed_reads
        from portal.backups.restoring import do_after_restore
        from portal.people.downloads import recorded_elsewhere, sent_by
        from portal.retention.collector import Kind, collect_also, uuid_pattern, uuids_named
        from portal.grid.film_order import ScoreOrders, sort_also

        sent_by(SENT)
        recorded_elsewhere(*RECORDED_BY_THEIR_FUNCTIONS)
        confirmed_reads.register(readings.gather)
        do_after_restore(erase_again)
        collect_also(Kind("kept figures of evaluations", "evaluations", uuid_pattern(), uuids_named(Evaluation)))
        sort_also(ScoreOrders(listed=score_orders.listed, named=score_orders.named))

    def warm_up(self) -> None:
        """Load the drawing libraries before the first request; called by web processes."""
        from analysis.figures import as_json, comparison_figure

        as_json(comparison_figure([], theme="light", random_weights=False))
