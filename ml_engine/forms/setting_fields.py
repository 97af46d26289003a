"""A form field for each setting of the method, made from what the setting declares of itself."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from django import forms

from ml_engine.core.alignment_config import AlignmentConfig
from ml_engine.core.config import PRESETS, PipelineConfig
from ml_engine.runs.requests import as_text

AS_PRESET = ("", "as the preset")
_ALIGNMENT = "alignment."
_BY_REQUEST = ("preset", "align", "alignment", "threads")  # chosen elsewhere, or set by the installation
_NEED_A_FILE = ("landmarks", "file")  # choices for the command line only
# names of the field that are not written as the words of a setting's name
_SPELLED = {"ssim": "SSIM", "ncc": "NCC", "clahe": "CLAHE", "padim": "PaDiM", "gib": "(GiB)"}


def _settings() -> dict[str, dataclasses.Field[Any]]:
    own = {f.name: f for f in dataclasses.fields(PipelineConfig) if f.name not in _BY_REQUEST}
    return own | {f"{_ALIGNMENT}{f.name}": f for f in dataclasses.fields(AlignmentConfig)}


SETTINGS = _settings()
ALIGNMENT_SETTINGS = tuple(name for name in SETTINGS if name.startswith(_ALIGNMENT))


def setting_field(name: str) -> forms.Field:
    """An optional field: left empty it takes the preset's value. A number is read from its text by the config, whose
    sentence then says what is wrong with it."""
    setting = SETTINGS[name]
    symbol = f" ({setting.metadata['symbol']})" if setting.metadata["symbol"] else ""
    common: dict[str, Any] = {"label": label_of(name) + symbol, "help_text": help_of(name), "required": False}
    choices = [choice for choice in setting.metadata.get("choices", ()) if choice not in _NEED_A_FILE]
    if isinstance(setting.default, bool):
        return forms.ChoiceField(choices=[AS_PRESET, ("yes", "yes"), ("no", "no")], **common)
    if choices:
        return forms.ChoiceField(choices=[AS_PRESET, *((choice, choice) for choice in choices)], **common)
    return forms.CharField(widget=forms.TextInput(attrs={"spellcheck": "false"}), **common)


def label_of(name: str) -> str:
    words = words_of(name)
    return words[:1].upper() + words[1:]


def words_of(name: str) -> str:
    """A setting's name as it is written within a sentence: "local NCC"."""
    return " ".join(_SPELLED.get(word, word) for word in name.removeprefix(_ALIGNMENT).split("_"))


def help_of(name: str) -> str:
    return f"{SETTINGS[name].metadata['help']} {preset_words(name)}"


def preset_words(name: str) -> str:
    """A setting's value in preset default, and in the presets that differ: "Preset: 1 (paper, paper-448: 9)."."""
    words = {preset: as_text(_value(PipelineConfig.from_preset(preset), name)) for preset in PRESETS}
    ours = words[PRESETS[0]]
    others = [preset for preset in PRESETS if words[preset] != ours]
    beside = f" ({', '.join(others)}: {words[others[0]]})" if others else ""
    return f"Preset: {ours or 'none'}{beside}."


def _value(config: PipelineConfig, name: str) -> Any:
    if name.startswith(_ALIGNMENT):
        return getattr(config.alignment, name.removeprefix(_ALIGNMENT))
    return getattr(config, name)


def setting_named(sentence: str) -> str:
    """The setting that a refusal of the config is about: its first word."""
    match = re.match(r"[\w.]+", sentence)
    return match.group() if match else ""


def texts_of(values: Mapping[str, Any], names: list[str]) -> dict[str, str]:
    """The settings that were filled in, as the text that the config reads."""
    return {name: str(values[name]) for name in names if values.get(name) not in (None, "")}
