from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    name = "analysis"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell the apps below what they cannot know of readings and evaluations: what a semi-supervised head is fitted
        on, patients who were erased since a backup, files to be kept, downloads, orders of the grid by
        scores, and how worklists are retired."""
        from analysis.evaluation import score_orders
        from analysis.evaluation.erasing import erase_again
        from analysis.models import Evaluation
        from analysis.reading import confirmed_reads as readings
        from analysis.reading import retired_worklists
        from analysis.views.downloads import RECORDED_BY_THEIR_FUNCTIONS, SENT
        from ml_engine.runs import confirmed_reads
        from portal.backups.restoring import do_after_restore
        from portal.grid.film_order import ScoreOrders, sort_also
        from portal.people.downloads import recorded_elsewhere, sent_by
        from portal.retention.collector import Kind, collect_also, uuid_pattern, uuids_named
        from portal.retention.copies import made_before_the_last_erasure, outdated_also

        sent_by(SENT)
        recorded_elsewhere(*RECORDED_BY_THEIR_FUNCTIONS)
        confirmed_reads.register(readings.gather)
        retired_worklists.register()
        do_after_restore(erase_again)
        outdated_also(made_before_the_last_erasure("evaluations"))
        collect_also(Kind("kept figures of evaluations", "evaluations", uuid_pattern(), uuids_named(Evaluation)))
        sort_also(ScoreOrders(listed=score_orders.listed, named=score_orders.named))

    def warm_up(self) -> None:
        """Load the drawing libraries before the first request; called by web processes."""
        from analysis.figures import as_json, comparison_figure

        as_json(comparison_figure([], theme="light", random_weights=False))
