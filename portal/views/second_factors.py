"""The pages of second factors that say more than allauth's own, whose templates are ours too."""

from typing import Any

from allauth.account.views import ReauthenticateView
from allauth.mfa.base.views import IndexView

from portal.people.second_factors import has_to_have_one


class SecondFactors(IndexView):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs, demanded=has_to_have_one(self.request.user))


class Confirm(ReauthenticateView):
    """The password once more, before an act that concerns the account."""

    template_name = "portal/confirm.html"
