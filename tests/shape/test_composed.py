"""How the compose file and the Dockerfile are read."""

from __future__ import annotations

import pytest

from tests.shape.composed import image_of, interpolated, read_env


def test_names_are_filled_in_as_compose_does() -> None:
    env = {"A": "a", "EMPTY": ""}
    asked = {"x": ["${A}-${B:-b}-${EMPTY:-e}", "${B:-}", "$$A", 3], "y": "${A:?no A}"}
    assert interpolated(asked, env) == {"x": ["a-b-e", "", "$A", 3], "y": "a"}
    for missing in ("${B:?set it in .env}", "${EMPTY:?set it in .env}"):
        with pytest.raises(KeyError, match=r"set it in \.env"):
            interpolated(missing, env)


def test_an_image_has_what_its_stages_have() -> None:
    variables, command = image_of("cpu")
    assert (variables["HILUM_ENV"], variables["HILUM_DATA_DIR"]) == ("production", "/data")
    assert variables["PYTHONUNBUFFERED"] == "1"  # of the first stage
    assert command[0] == "gunicorn"
    assert image_of("gpu")[1][0] == "celery"


def test_comments_of_an_env_file_are_no_values() -> None:
    assert read_env("# A=1\nB=2\n\nC=\nD=x=y\n") == {"B": "2", "C": "", "D": "x=y"}
