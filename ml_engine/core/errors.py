"""The errors whose message is shown to users: plain sentences without patient data."""


class EngineError(Exception):
    """An error whose message can be shown to a user."""


class UnreadableImage(EngineError):
    """A film could not be decoded."""


class UnsupportedImage(EngineError):
    """A film was decoded but is of a kind that the engine does not support."""


class EmptyBank(EngineError):
    """No patch is left for a memory bank."""


class UnusableFeatures(EngineError):
    """Patch features hold values that are no numbers, or too large to compare."""

    def __init__(self) -> None:
        super().__init__(
            "The patch features hold values that are not numbers, or too large to compare. In a run the backbone's "
            "weights are damaged: import them again, or choose others."
        )


class IncompatibleModel(EngineError):
    """A model file does not fit this version, configuration or input."""


class InvalidConfig(EngineError):
    """A setting has an invalid value."""


class AlignmentCollapsed(EngineError):
    """The aligned films left the frame during the fit of the alignment."""


class WeightsMissing(EngineError):
    """The weights are not in the weights folder."""
