"""`{% plotly %}` in the scripts of a page that draws figures."""

from django import template
from django.template.context import Context
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def plotly(context: Context) -> SafeString:
    """Load Plotly; the page may have the styles that it needs (portal.project.content_policy)."""
    context["request"].draws_figures = True
    return format_html('<script src="{}" defer></script>', static("vendor/plotly/plotly-cartesian.min.js"))
