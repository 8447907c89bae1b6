"""Forget where sensors are."""

from dataclasses import replace

import numpy as np

from brainfm.data.preprocess import Step
from brainfm.data.recording import Recording


class WithoutPositions(Step):
    """Makes each sensor's position and orientation unknown: for who does not trust a template, and to see what places are worth.

    An orientation goes with the position, since that of a coil says where on the helmet it is. Regions stay: they are words of
    the dataset, or of an atlas whose step stands before this one.
    """

    each_time = True

    def __call__(self, recording: Recording, modality: str) -> Recording:
        signal = recording.signal(modality)
        unknown = np.full((len(signal.sensors), 3), np.nan)
        sensors = replace(signal.sensors, position=unknown, orientation=unknown.copy(), frame="none")
        known = int(signal.sensors.located.sum())
        note = f"without_positions: {known} positions forgotten"
        return recording.with_signal(modality, replace(signal, sensors=sensors)).noting(note)
