from django.apps import AppConfig


class MlEngineConfig(AppConfig):
    name = "ml_engine"
    default_auto_field = "django.db.models.BigAutoField"
