"""Renderers of files that are not JSON."""

from typing import Any

from rest_framework.renderers import BaseRenderer, JSONRenderer


class FileRenderer(BaseRenderer):
    """Lets a client accept a kind of file. The file itself is not rendered: what is, is a refusal, which is JSON as
    everywhere else."""

    charset = None

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        renderer_context["response"]["Content-Type"] = JSONRenderer.media_type  # set from media_type before
        return bytes(JSONRenderer().render(data))


class Csv(FileRenderer):
    media_type = "text/csv"
    format = "csv"
