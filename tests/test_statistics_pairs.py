"""Statistics of two rows against MNE-Connectivity, plain loops, and rhythms that are known to go together or not."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.signal import hilbert
from torch import Tensor

from brainfm.statistics import pair_names, pair_statistics, pairs_of
from brainfm.statistics.blood import connectivity
from brainfm.statistics.coherence import coherence, imaginary_coherence, weighted_phase_lag
from brainfm.statistics.phase import phase_amplitude, phase_locking
from brainfm.statistics.spectrum import BANDS

SFREQ = 128.0
ALPHA = {"alpha": BANDS["alpha"]}
Pairwise = Callable[[Tensor, float, dict[str, tuple[float, float]]], Tensor]


def mixed(rows: int = 4, times: int = 512) -> Tensor:
    """(2, row, time) noise; the second row follows the first three samples later, the fourth holds the third."""
    signal = torch.randn(2, rows, times, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signal[:, 1] += 0.8 * signal[:, 0].roll(3, -1)
    signal[:, 3] += signal[:, 2]
    return signal


@pytest.mark.filterwarnings("ignore")  # MNE's, of frequencies with few cycles
@pytest.mark.parametrize(
    ("method", "ours"),
    [("coh", coherence), ("imcoh", imaginary_coherence), ("wpli", weighted_phase_lag)],
)
def test_mne_connectivity_says_the_same(method: str, ours: Pairwise) -> None:
    """Segments as its epochs, frequency by frequency, and the mean over a band."""
    from mne_connectivity import spectral_connectivity_epochs

    signal = mixed()
    pieces = signal.unfold(-1, 128, 64)[0].transpose(0, 1).numpy()
    theirs = spectral_connectivity_epochs(
        pieces, method=method, mode="fourier", sfreq=SFREQ, fmin=0.5, fmax=64, verbose=False
    )
    values = np.abs(theirs.get_data("dense"))  # below the diagonal
    hertz = {str(at): (at - 0.1, at + 0.1) for at in theirs.freqs}
    first, second = np.tril_indices(4, -1)
    np.testing.assert_allclose(ours(signal, SFREQ, hertz)[0, first, second], values[first, second], atol=1e-6)
    alpha = values[:, :, [8 <= at < 13 for at in theirs.freqs]].mean(axis=-1)
    np.testing.assert_allclose(
        ours(signal, SFREQ, ALPHA)[0, first, second, 0], alpha[first, second], atol=1e-6
    )


def test_locking_is_its_definition() -> None:
    """Phases by scipy's Hilbert transform of what a band leaves, pair by pair."""
    signal = mixed().numpy()
    spectrum = np.fft.rfft(signal - signal.mean(axis=-1, keepdims=True))
    hertz = np.fft.rfftfreq(signal.shape[-1], 1 / SFREQ)
    for number, (low, high) in enumerate(BANDS.values()):
        band = np.fft.irfft(np.where((hertz >= low) & (hertz < high), spectrum, 0), signal.shape[-1])
        phase = np.angle(hilbert(band, axis=-1))
        found = phase_locking(torch.from_numpy(signal), SFREQ)[..., number].numpy()
        for i in range(4):
            for j in range(4):
                expected = np.abs(np.exp(1j * (phase[:, i] - phase[:, j])).mean(axis=-1))
                np.testing.assert_allclose(found[:, i, j], expected, atol=1e-6)


def oscillators(pull: float, seconds: float = 16.0) -> Tensor:
    """(1, 2, time) two Kuramoto oscillators at about 9.5 and 10.5 Hz that pull each other with so many radians a second."""
    rng = np.random.default_rng(0)
    phase, course = np.zeros(2), []
    for _ in range(round(seconds * SFREQ)):
        towards = pull * np.sin(phase[::-1] - phase)
        phase = phase + (2 * math.pi * np.array([9.5, 10.5]) + towards) / SFREQ
        phase = phase + rng.normal(0, 0.05, 2)
        course.append(np.sin(phase))
    return torch.from_numpy(np.array(course).T)[None]


def test_coupled_oscillators_lock() -> None:
    locked, free = (float(phase_locking(oscillators(pull), SFREQ, ALPHA)[0, 0, 1, 0]) for pull in (8.0, 0.0))
    assert locked > 0.95
    assert free < 0.4


def test_what_arrives_at_once_has_no_imaginary_part() -> None:
    """Volume conduction: a common signal raises coherence and locking, but not what asks for a lag."""
    drawn = torch.Generator().manual_seed(0)
    common = torch.randn(1, 1, 1280, generator=drawn)
    at_once = common + 0.5 * torch.randn(1, 2, 1280, generator=drawn)
    later = torch.cat([common, common.roll(3, -1)], dim=1) + 0.5 * torch.randn(1, 2, 1280, generator=drawn)
    for of in (coherence, phase_locking):
        assert float(of(at_once, SFREQ, ALPHA)[0, 0, 1, 0]) > 0.6
    for of in (imaginary_coherence, weighted_phase_lag):
        assert float(of(at_once, SFREQ, ALPHA)[0, 0, 1, 0]) < 0.4
        assert float(of(later, SFREQ, ALPHA)[0, 0, 1, 0]) > 0.7


def test_pairs_are_symmetric_and_in_their_order() -> None:
    signal = mixed().float()
    of = ("locking", "coherence", "imaginary", "lag")
    found = pair_statistics(signal, SFREQ, "eeg", of)
    assert found.shape == (2, 6, len(pair_names("eeg", of)))
    order = torch.tensor([2, 0, 3, 1])
    mixed_up = pair_statistics(signal[:, order], SFREQ, "eeg", of)
    for place, (i, j) in enumerate(pairs_of(4, signal.device).T.tolist()):
        pair = sorted((int(order[i]), int(order[j])))
        before = pairs_of(4, signal.device).T.tolist().index(pair)
        torch.testing.assert_close(mixed_up[:, place], found[:, before], atol=1e-5, rtol=1e-5)


def test_connectivity_is_pearsons_r() -> None:
    signal = mixed(times=60)
    found = connectivity(signal)[..., 0].tanh().numpy()
    for row in range(2):
        expected = np.corrcoef(signal[row])
        apart = ~np.eye(4, dtype=bool)
        np.testing.assert_allclose(found[row][apart], expected[apart], atol=1e-6)


def test_a_silent_row_goes_with_none() -> None:
    signal = mixed().float()
    signal[:, 2] = 0.0
    found = pair_statistics(signal, SFREQ, "eeg", ("locking", "coherence", "imaginary", "lag"))
    with_it = [place for place, pair in enumerate(pairs_of(4, signal.device).T.tolist()) if 2 in pair]
    assert float(found[:, with_it].abs().max()) < 1e-3
    assert float(pair_statistics(signal, 0.5, "fmri", ("connectivity",))[:, with_it].abs().max()) < 1e-3


def nested(depth: float) -> Tensor:
    """(1, 1, time) theta, and a gamma whose size follows theta's phase so deeply."""
    time = torch.arange(1024, dtype=torch.float64) / SFREQ
    theta = torch.sin(2 * math.pi * 6 * time)
    gamma = (1 + depth * theta) * torch.sin(2 * math.pi * 37 * time)
    noise = torch.randn(1024, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (theta + 0.5 * gamma + 0.1 * noise)[None, None]


def test_a_gamma_that_follows_theta_is_found() -> None:
    shallow, deep = (phase_amplitude(nested(depth), SFREQ)[0, 0] for depth in (0.0, 0.9))
    assert float(deep[0]) > 20 * float(shallow[0])
    assert float(deep[0]) > 3 * float(deep[1:].max())  # theta's phase, not alpha's or beta's


def test_the_modulation_index_is_its_definition() -> None:
    """Tort et al. 2010, bin by bin."""
    signal = nested(0.9)
    spectrum, hertz = np.fft.rfft(signal[0, 0]), np.fft.rfftfreq(1024, 1 / SFREQ)

    def wave(band: str) -> np.ndarray:
        low, high = BANDS[band]
        inside = (hertz >= low) & (hertz < high)
        return np.asarray(hilbert(np.fft.irfft(np.where(inside, spectrum, 0), 1024)))

    bins = np.floor((np.angle(wave("theta")) + np.pi) / (2 * np.pi / 18)).astype(int).clip(0, 17)
    mean = np.array([np.abs(wave("gamma"))[bins == number].mean() for number in range(18)])
    share = mean / mean.sum()
    expected = (np.log(18) + (share * np.log(share)).sum()) / np.log(18)
    assert float(phase_amplitude(signal, SFREQ)[0, 0, 0]) == pytest.approx(expected, rel=1e-4)
