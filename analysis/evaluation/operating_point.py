"""The operating point that a person asks for."""

from dataclasses import dataclass

RULES = {"specificity": "Specificity", "sensitivity": "Sensitivity"}
LEAST_TARGET, MOST_TARGET = 0.5, 0.999
LEAST_PREVALENCE, MOST_PREVALENCE = 0.0001, 0.5
OFFERED = (0.8, 0.85, 0.9, 0.95, 0.975, 0.99)


class InvalidOperatingPoint(Exception):
    """The message is a sentence for the user."""


@dataclass(frozen=True)
class RequestedPoint:
    """The operating point that a person asks for. `target` is the specificity or sensitivity (`rule`) to reach in the
    part that fixes the threshold; `prevalence` is taken as known, for predictive values. All are shares, 0 to 1."""

    rule: str = "specificity"
    target: float = 0.9
    prevalence: float = 0.05

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise InvalidOperatingPoint(f"The rule {self.rule[:40]!r} is unknown; use one of {', '.join(RULES)}.")
        for name, value, low, high in (
            ("target", self.target, LEAST_TARGET, MOST_TARGET),
            ("prevalence", self.prevalence, LEAST_PREVALENCE, MOST_PREVALENCE),
        ):
            if not low <= value <= high:
                raise InvalidOperatingPoint(f"The {name} is {value:g}; it must lie from {low:g} to {high:g}.")
