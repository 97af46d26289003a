"""Pixels, headers and de-identification: pure functions without Django, database or settings."""
