"""How a spectrum falls: noise of a known exponent, rhythms on top of it, and specparam's answer."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from brainfm.statistics.spectrum import FALL, fall, segments

SFREQ = 128.0


def falling(exponent: float, rhythm: float = 0.0, count: int = 60, seconds: float = 4.0) -> torch.Tensor:
    """(1, count, time) noise whose power falls as 1/f^exponent, a 10 Hz rhythm that waxes and wanes on top."""
    rng = np.random.default_rng(0)
    n_times = round(seconds * SFREQ)
    frequency = np.fft.rfftfreq(2 * n_times, 1 / SFREQ)
    frequency[0] = frequency[1]
    drawn = rng.normal(size=(count, len(frequency))) + 1j * rng.normal(size=(count, len(frequency)))
    noise = np.fft.irfft(drawn * frequency ** (-exponent / 2))[:, :n_times]
    noise /= noise.std(axis=1, keepdims=True)
    time = np.arange(n_times) / SFREQ
    swing = 1 + 0.3 * rng.normal(size=(count, n_times)).cumsum(axis=1) / np.sqrt(n_times)
    wave = np.sin(2 * np.pi * 10 * time + rng.uniform(0, 6, (count, 1))) * swing
    return torch.from_numpy(noise + rhythm * wave)[None]


@pytest.mark.parametrize("rhythm", [0.0, 1.0])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_noise_falls_with_its_exponent(exponent: float, rhythm: float) -> None:
    found = fall(falling(exponent, rhythm), SFREQ)[0, :, 0]
    assert float(found.mean()) == pytest.approx(exponent, abs=0.08)
    assert float(found.std()) < 0.2


def test_a_rhythm_would_mislead_a_plain_line() -> None:
    """Without the weights an alpha rhythm as large as the noise steepens the fall by a fifth."""
    signal = falling(1.0, rhythm=1.0)
    pieces, frequency = segments(signal, SFREQ)
    inside = (frequency >= FALL[0]) & (frequency < FALL[1])
    power = pieces.abs().square().mean(dim=2)[0, :, inside]
    x = np.log10(frequency[inside].numpy())
    plain = [-np.polyfit(x, np.log10(row), 1)[0] for row in power.numpy()]
    assert np.mean(plain) > 1.12
    assert float(fall(signal, SFREQ)[0, :, 0].mean()) < 1.07


def test_specparam_says_the_same(quiet_specparam: Any) -> None:
    """Of single windows, whose own exponents are uncertain by 0.15."""
    apart = []
    for exponent in (1.0, 1.5):
        signal = falling(exponent, rhythm=1.0, count=25)
        pieces, frequency = segments(signal, SFREQ)
        theirs = [
            quiet_specparam(frequency.numpy(), row) for row in pieces.abs().square().mean(dim=2)[0].numpy()
        ]
        apart.append(fall(signal, SFREQ)[0, :, 0].numpy() - np.array(theirs))
    assert np.abs(np.mean(apart)) < 0.06
    assert np.abs(apart).mean() < 0.1


@pytest.fixture
def quiet_specparam() -> Any:
    """The exponent that specparam tells from a spectrum."""
    from specparam import SpectralModel

    def exponent(frequency: NDArray[np.float64], power: NDArray[np.float64]) -> float:
        model = SpectralModel(aperiodic_mode="fixed", max_n_peaks=6, verbose=False)
        model.fit(frequency, power, [FALL[0], FALL[1] - 0.1])
        return float(model.get_params("aperiodic")[1])

    return exponent


def test_the_offset_is_the_power_at_one_hertz() -> None:
    """White noise of variance 4 has 4/sfreq per hertz at all frequencies; the middle of a logarithm lies lower."""
    noise = 2 * torch.randn(1, 300, 512, generator=torch.Generator().manual_seed(0))
    exponent, offset = fall(noise, SFREQ)[0].unbind(dim=-1)
    assert float(exponent.mean()) == pytest.approx(0.0, abs=0.05)
    assert float(offset.mean()) == pytest.approx(np.log10(4 / SFREQ), abs=0.15)
    louder = fall(10 * noise, SFREQ)[0, :, 1]
    torch.testing.assert_close(louder, offset + 2, atol=1e-3, rtol=0)
