"""Places forgotten: nothing else of a recording changes, and no network can tell where a sensor was."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from brainfm.batch import Batch
from brainfm.data.modalities import modality
from brainfm.data.preprocess.without_positions import WithoutPositions
from brainfm.data.recording import Recording
from brainfm.model import BrainFM


def test_places_and_directions_are_forgotten_and_nothing_else() -> None:
    before = modality("meg").simulate(np.random.default_rng(0), seconds=5.0, sensors=12)
    after = WithoutPositions()(before, "meg")
    old, new = before.signal("meg").sensors, after.signal("meg").sensors
    assert old.located.all() and np.isfinite(old.orientation).all() and old.frame == "approximate"
    assert np.isnan(new.position).all() and np.isnan(new.orientation).all() and new.frame == "none"
    assert (new.name, new.kind, new.unit, new.region) == (old.name, old.kind, old.unit, old.region)
    assert after.signal("meg").data is before.signal("meg").data, "samples that lie in a file stay there"
    assert after.notes == ("without_positions: 12 positions forgotten",)


def test_a_network_can_not_tell_where_the_sensors_were(
    model: BrainFM, person: Recording, cut: Callable[..., Batch]
) -> None:
    signal = person.signal("eeg")
    moved = replace(signal.sensors, position=signal.sensors.position[::-1])
    other = person.with_signal("eeg", replace(signal, sensors=moved))
    forget = WithoutPositions()
    with torch.no_grad():
        apart = [model(cut(model, one)).embedding for one in (person, other)]
        alike = [model(cut(model, forget(one, "eeg"))).embedding for one in (person, other)]
    assert not torch.allclose(*apart, atol=1e-3)
    assert torch.equal(*alike)
