import os

from django.apps import apps
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = get_wsgi_application()

# What a first page would else wait for: the views with all that they import, and what a room wants ready.
_ = get_resolver().url_patterns
for room in apps.get_app_configs():
    getattr(room, "warm_up", lambda: None)()
