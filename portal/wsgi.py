import os

from django.apps import apps
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

application = get_wsgi_application()

for room in apps.get_app_configs():  # what a first page would else wait for
    getattr(room, "warm_up", lambda: None)()
