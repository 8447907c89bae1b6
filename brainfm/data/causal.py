"""Steps on a signal that is still coming in: block after block, each with its state, none with a look ahead."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfilt, sosfilt_zi

from brainfm.data.recording import Sensors

Samples = NDArray[np.float64]
"""(sensor, time)."""


class Running:
    """A step while the signal comes in; this one lets it pass.

    What it gives of a signal does not depend on how that was cut into blocks. `delay` is by how many seconds what it gives
    lies behind what it was given, `held` how many seconds it still collects before it gives anything, and `said` what it
    does otherwise than the step does to a whole recording.
    """

    def __init__(self, sensors: Sensors, sfreq: float, said: str = "", delay: float = 0.0) -> None:
        self.sensors, self.sfreq, self.said, self.delay = sensors, sfreq, said, delay

    @property
    def held(self) -> float:
        return 0.0

    def __call__(self, block: Samples) -> Samples:
        """What the next samples become; none where it needs more of them first."""
        return block

    def restart(self) -> None:
        """Forget what came before: what comes next does not follow on it."""


class Mixed(Running):
    """Each time on its own: a weighted sum of its sensors."""

    def __init__(self, sensors: Sensors, sfreq: float, weights: Samples) -> None:
        super().__init__(sensors, sfreq)
        self.weights = weights

    def __call__(self, block: Samples) -> Samples:
        return self.weights @ block


class Sections(Running):
    """Second-order sections that run forwards, begun as if the first sample had always been there (scipy's `sosfilt_zi`)."""

    def __init__(self, sensors: Sensors, sfreq: float, sos: Samples, said: str) -> None:
        super().__init__(sensors, sfreq, said)
        self.sos, self.still = sos, sosfilt_zi(sos)[:, None, :]
        self.state: NDArray[np.float64] | None = None

    def __call__(self, block: Samples) -> Samples:
        if not block.shape[1]:
            return block
        before = self.still * block[None, :, :1] if self.state is None else self.state
        out, self.state = sosfilt(self.sos, block, axis=1, zi=before)
        return np.asarray(out)

    def restart(self) -> None:
        self.state = None


class Chain:
    """Running steps, one after another."""

    def __init__(self, steps: Sequence[Running]) -> None:
        self.steps = list(steps)

    @property
    def delay(self) -> float:
        """Seconds by which the prepared signal lies behind the one that comes in."""
        return sum(step.delay for step in self.steps)

    @property
    def held(self) -> float:
        """Seconds of signal that are still collected before there is any."""
        return sum(step.held for step in self.steps)

    @property
    def said(self) -> list[str]:
        """What is done otherwise than to a whole recording."""
        return [step.said for step in self.steps if step.said]

    def __call__(self, block: Samples) -> Samples:
        """What the next samples become."""
        for step in self.steps:
            block = step(block)
        return block

    def restart(self) -> None:
        """Forget what came before, scales excepted."""
        for step in self.steps:
            step.restart()
