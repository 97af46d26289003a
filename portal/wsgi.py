import os

from django.apps import apps
from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = get_wsgi_application()

# Import the views and run each app's `warm_up` now, so that the first page does not have to wait for them.
_ = get_resolver().url_patterns
for app in apps.get_app_configs():
    getattr(app, "warm_up", lambda: None)()
