"""The only exception that `portal.imaging` raises to its callers: this file cannot become a film."""

REASONS = frozenset(
    {
        "no_pixels",
        "truncated",
        "not_a_radiograph",
        "colour",
        "multi_frame",
        "too_large",
        "unreadable",
        "unsupported",
        "infected",  # by a virus scanner, before anything of portal.imaging opens the file; as the next
        "not_scanned",
    }
)


class UnusableFile(Exception):
    """A file that ends in quarantine.

    `reason` is one of `REASONS`; `sentence` explains to a curator what is wrong and what to do. The sentence
    never quotes free text from the file, since any text element may hold a patient's name. `preview` is a small
    JPEG of what the file shows, and `patient_id` the raw identifier of its header, to be hashed and discarded; an
    import asks for both where that is possible.
    """

    preview: bytes = b""
    patient_id: str = ""

    def __init__(self, reason: str, sentence: str) -> None:
        if reason not in REASONS:
            raise ValueError(f"Unknown reason {reason!r}: expected one of {sorted(REASONS)}.")
        super().__init__(reason, sentence)
        self.reason = reason
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence
