"""Shaft references: local activity stays, what all contacts share goes, and a gap in the numbers is no neighbourhood."""

from dataclasses import replace

import numpy as np
import pytest

from brainfm.data.preprocess.shaft_reference import ShaftReference
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError

NAMES = ["A1", "A2", "A3", "A5", "B'10", "B'9", "B'8"]  # A4 is missing; B' is stored backwards


@pytest.fixture
def recording() -> Recording:
    rng = np.random.default_rng(0)
    place = rng.normal(size=(7, 3))
    table = replace(
        Sensors.of(NAMES, "seeg", "V", place, "exact"), region=("x", "x", "y", "y", "z", "z", "z")
    )
    return Recording({"seeg": Signal(rng.normal(size=(7, 50)), 100.0, table)}, source="a.edf")


def after(recording: Recording, to: str) -> Signal:
    return ShaftReference.model_validate({"to": to})(recording, "seeg").signal("seeg")


def test_bipolar_is_the_difference_of_neighbours_half_way_between(recording: Recording) -> None:
    signal, before = after(recording, "bipolar"), recording.signal("seeg")
    assert signal.sensors.name == ("A1-A2", "A2-A3", "B'8-B'9", "B'9-B'10")
    data, place = before.load(), before.sensors.position
    np.testing.assert_allclose(signal.load()[0], data[0] - data[1])
    np.testing.assert_allclose(signal.load()[2], data[6] - data[5])
    np.testing.assert_allclose(signal.sensors.position[1], (place[1] + place[2]) / 2)
    assert signal.sensors.region == ("x", "", "z", "z")
    notes = ShaftReference(to="bipolar")(recording, "seeg").notes
    assert "left out, without neighbours: A5" in notes


def test_laplacian_is_a_contact_less_the_mean_of_both_neighbours(recording: Recording) -> None:
    signal, data = after(recording, "laplacian"), recording.signal("seeg").load()
    assert signal.sensors.name == ("A2", "B'9")
    np.testing.assert_allclose(signal.load()[0], data[1] - (data[0] + data[2]) / 2)
    np.testing.assert_array_equal(signal.sensors.position[0], recording.signal("seeg").sensors.position[1])


@pytest.mark.parametrize("to", ["bipolar", "laplacian"])
def test_what_all_contacts_share_goes(recording: Recording, to: str) -> None:
    """A common reference, however loud, changes nothing."""
    signal = recording.signal("seeg")
    loud = replace(signal, data=signal.load() + 100 * np.sin(np.arange(50)))
    shared = after(recording.with_signal("seeg", loud), to)
    np.testing.assert_allclose(shared.load(), after(recording, to).load(), atol=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_order_of_contacts_in_the_file_does_not_matter(recording: Recording, order: int) -> None:
    rows = np.random.default_rng(order).permutation(7)
    shuffled = recording.with_signal("seeg", recording.signal("seeg").take(rows.tolist()))
    found, expected = after(shuffled, "bipolar"), after(recording, "bipolar")
    by_name = dict(zip(found.sensors.name, found.load(), strict=True))
    assert by_name.keys() == set(expected.sensors.name)
    for name, row in zip(expected.sensors.name, expected.load(), strict=True):
        np.testing.assert_array_equal(by_name[name], row)


def test_what_has_no_place_on_a_shaft_is_refused(recording: Recording) -> None:
    signal = recording.signal("seeg")
    named = replace(signal, sensors=replace(signal.sensors, name=("REF", *NAMES[1:])))
    with pytest.raises(DataError, match=r"a\.edf: REF has no number, so its place on a shaft is not known"):
        after(recording.with_signal("seeg", named), "bipolar")
    with pytest.raises(DataError, match="no shaft has 3 contacts in a row, which laplacian needs"):
        after(recording.with_signal("seeg", signal.take([0, 1, 3])), "laplacian")
