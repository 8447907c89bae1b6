"""Positions: canonical names, montages, MNI, and no position where none is known."""

import numpy as np
import pytest

from brainfm.data.positions import canonical, canonical_names, eeg_sensors, head_positions, to_mni
from brainfm.errors import DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FP1", "Fp1"),
        ("EEG Fpz-REF", "Fpz"),
        ("Fc5.", "FC5"),
        ("T3", "T7"),
        ("T6", "P8"),
        ("EEG C3-A2", "C3"),
        ("eeg oz-le", "Oz"),
        ("A2", "A2"),
        ("A2-A1", None),
        ("Fp1-F7", None),
        ("X9", None),
    ],
)
def test_canonical_names(name: str, expected: str | None) -> None:
    assert canonical(name) == expected


def test_two_sensors_never_get_one_name() -> None:
    assert canonical_names(["T3", "T7", "cz"]) == ["T3", "T7", "Cz"]


def test_mni_positions_are_where_the_sensors_are() -> None:
    sensors, notes = eeg_sensors(["C3", "C4", "Cz", "Oz", "Fpz"], None, None, "auto", "here")
    c3, c4, cz, oz, fpz = sensors.position
    assert c3[0] < -0.04 < 0.04 < c4[0]  # metres, left is negative
    assert cz[2] == max(sensors.position[:, 2]) > 0.08
    assert oz[1] < -0.08 < 0.06 < fpz[1]
    assert sensors.frame == "approximate"
    assert notes == ["positions of 5 sensors from the montage standard_1005"]


def test_unknown_sensors_are_named_or_go_without_positions() -> None:
    with pytest.raises(
        DataError, match="here: the positions of E1, E2 are neither in the file nor in the montage"
    ):
        eeg_sensors(["E1", "Cz", "E2"], None, None, "auto", "here")
    sensors, _ = eeg_sensors(["E1", "Cz", "E2"], None, None, "none", "here")
    assert sensors.frame == "none"
    assert not sensors.located.any()
    with pytest.raises(DataError, match="montage 'my_cap' is not one that MNE knows"):
        eeg_sensors(["Cz"], None, "my_cap", "auto", "here")


def test_a_montage_of_another_naming_serves() -> None:
    sensors, _ = eeg_sensors(["E1", "E11"], None, "GSN-HydroCel-128", "auto", "here")
    np.testing.assert_allclose(sensors.position[0], to_mni(head_positions("GSN-HydroCel-128")["E1"][None])[0])


def test_positions_that_are_not_in_metres_are_not_used() -> None:
    millimetres = np.array([[0.0, 0.0, 120.0], [-29.0, -112.0, 9.0]])
    sensors, notes = eeg_sensors(["Cz", "O1"], millimetres, None, "auto", "here")
    np.testing.assert_allclose(sensors.position[0], to_mni(head_positions("standard_1005")["Cz"][None])[0])
    assert any("not used" in note for note in notes)


def test_what_the_file_leaves_open_comes_from_the_montage() -> None:
    given = np.array([[0.0, 0.01, 0.12], [np.nan] * 3])
    sensors, notes = eeg_sensors(["Cz", "O1"], given, None, "auto", "here")
    np.testing.assert_allclose(sensors.position[0], to_mni(given[:1])[0])
    assert "positions of 1 sensors from the montage standard_1005" in notes
