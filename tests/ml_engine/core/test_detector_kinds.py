from ml_engine.core.config import DETECTORS
from ml_engine.core.detector_kinds import KINDS


def test_the_names_of_the_detectors_are_those_that_runs_have_stored() -> None:
    assert {"patchcore": "PatchCore", "padim": "PaDiM", "spade": "SPADE", "dn2": "DN2"}.items() <= DETECTORS.items()


def test_every_detector_beside_patchcore_says_what_its_maps_are() -> None:
    assert [name for name, kind in KINDS.items() if not kind.note] == ["patchcore"]
    assert all(kind.words in kind.note for kind in KINDS.values() if kind.note)
