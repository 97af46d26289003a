from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    name = "analysis"
    default_auto_field = "django.db.models.BigAutoField"

    def warm_up(self) -> None:
        """Load the drawing libraries before the first request; called by web processes."""
        from analysis.figures import as_json, comparison_figure

        as_json(comparison_figure([], theme="light", random_weights=False))
