"""What the engine may tell a user: one plain sentence each, without patient data."""


class EngineError(Exception):
    """A failure whose text is fit for a user's eyes."""


class UnreadableImage(EngineError):
    """A film could not be decoded."""


class UnsupportedImage(EngineError):
    """A film was decoded but is of a kind that the engine does not take."""


class EmptyBank(EngineError):
    """No patch was left for a memory bank."""


class IncompatibleModel(EngineError):
    """A model file does not fit this version, configuration or input."""


class InvalidConfig(EngineError):
    """A setting has a value that makes no sense."""


class AlignmentCollapsed(EngineError):
    """The aligned films left the frame while the alignment was fitted."""
