from django.apps import AppConfig


class AnalysisConfig(AppConfig):
    name = "analysis"
    default_auto_field = "django.db.models.BigAutoField"

    def warm_up(self) -> None:
        """Load what figures are drawn with: for the processes that answer pages."""
        from analysis.figures import as_json, comparison_figure

        as_json(comparison_figure([], theme="light", random_weights=False))
