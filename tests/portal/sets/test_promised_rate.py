"""What calibration patients promise: the portal's numbers are the engine's and scipy's."""

from __future__ import annotations

import pytest
from scipy.stats import beta

from ml_engine.core.score.conformal import promised_rate
from portal.sets.promised_rate import promised_alarms


@pytest.mark.parametrize("patients", [9, 16, 39, 99, 200])
def test_the_promise_is_that_of_the_engine(patients: int) -> None:
    promised, engine = promised_alarms(patients), promised_rate(0.1, patients)
    assert promised is not None
    assert engine is not None
    assert (promised.expected, promised.low, promised.high) == pytest.approx(
        (100 * engine.expected, 100 * engine.low, 100 * engine.high)
    )


def test_39_patients_keep_a_tenth_between_3_and_21_percent() -> None:
    promised = promised_alarms(39)
    assert promised is not None
    assert (promised.low, promised.high) == pytest.approx(tuple(100 * beta(4, 36).ppf([0.025, 0.975])))


@pytest.mark.parametrize("patients", [0, 1, 8])
def test_too_few_patients_promise_nothing(patients: int) -> None:
    assert promised_alarms(patients) is None
