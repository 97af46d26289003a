"""Number of films for the interval of a share, against SciPy's Wilson interval tried film by film."""

import pytest
from scipy.stats import binomtest

from analysis.statistics import share_sample_size


@pytest.mark.parametrize(("share", "half_width"), [(0.5, 0.05), (0.9, 0.05), (0.8, 0.1), (0.95, 0.03)])
def test_it_is_the_fewest_films_at_which_scipys_interval_is_narrow_enough(share, half_width):
    result = share_sample_size(share, half_width=half_width)

    def width(films):  # SciPy takes whole numbers of successes
        interval = binomtest(round(share * films), films).proportion_ci(method="wilson")
        return interval.high - interval.low

    whole = [films for films in range(20, 2000, 20) if abs(share * films - round(share * films)) < 1e-9]
    assert all(width(films) > 2 * half_width for films in whole if films < result.films)
    assert all(width(films) <= 2 * half_width for films in whole if films >= result.films)
    assert any(films < result.films for films in whole)
    assert result.high - result.low <= 2 * half_width


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_none_or_all_needs_films_too(share):
    # one limit is z² / (n + z²) from the share: 0.1 is reached with n = z² (1 - 0.2) / 0.2, rounded up
    assert share_sample_size(share, half_width=0.1).films == 16


def test_more_confidence_needs_more_films():
    assert (
        share_sample_size(0.9, half_width=0.05, confidence=0.99).films > share_sample_size(0.9, half_width=0.05).films
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"share": 1.1, "half_width": 0.1}, "share is 1.1"),
        ({"share": 0.9, "half_width": 0.5}, "half_width is 0.5"),
        ({"share": 0.9, "half_width": 0.0}, "half_width is 0.0"),
        ({"share": 0.9, "half_width": 0.1, "confidence": 1.0}, "confidence is 1.0"),
    ],
)
def test_nonsense_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        share_sample_size(**given)
