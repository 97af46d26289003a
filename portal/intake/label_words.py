"""Words that tables write for a label. They are guesses: a person says what a word means."""

MOST_LABELS = 30  # different values of a column that may be the label
_MEANINGS = {
    "normal": (
        *("normal", "no finding", "no findings", "no abnormality", "negative", "healthy", "clear", "o.b.", "o. b."),
        *("ob", "ohne befund", "unauffällig", "kein befund", "gesund", "sain", "sano", "sana"),
    ),
    "abnormal": (
        *("abnormal", "positive", "pathological", "pathologic", "disease", "diseased", "sick", "auffällig", "anormal"),
        *("pathologisch", "krank", "malade", "enfermo", "pneumonia", "tuberculosis", "tb", "covid", "covid-19"),
        *("nodule", "effusion", "mass", "cardiomegaly", "pneumothorax", "consolidation", "opacity"),
    ),
    "unsure": ("unsure", "uncertain", "unclear", "unklar", "equivocal", "indeterminate", "borderline", "incertain"),
    "exclude": ("exclude", "excluded", "poor quality", "bad quality", "not assessable", "nicht beurteilbar"),
}
_MEANING_OF = {word: meaning for meaning, words in _MEANINGS.items() for word in words}


def meaning_of_word(value: str) -> str | None:
    """The label that the word may stand for. Numbers stand for none: 1 may be either."""
    return _MEANING_OF.get(value.casefold())
