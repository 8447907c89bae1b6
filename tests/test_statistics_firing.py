"""How neurons fire and how the blood fluctuates: processes with known answers, and the definitions on spike times."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from brainfm.statistics import row_names, row_statistics
from brainfm.statistics.blood import slow_amplitude
from brainfm.statistics.firing import fano, intervals, spike_correlation


def poisson(hertz: float, seconds: float, rows: int = 200, sfreq: float = 1000.0) -> Tensor:
    """(1, row, time)"""
    count = np.random.default_rng(0).poisson(hertz / sfreq, (1, rows, round(seconds * sfreq)))
    return torch.from_numpy(count).float()


def clockwork(every: int, rows: int = 3, times: int = 4000) -> Tensor:
    """(1, row, time) a spike every so many bins."""
    count = torch.zeros(1, rows, times)
    count[..., ::every] = 1.0
    return count


def test_poisson_has_a_fano_factor_of_one_and_a_variation_of_one() -> None:
    count = poisson(20.0, 30.0)
    assert float(fano(count, 1000.0).exp().mean()) == pytest.approx(1.0, abs=0.03)
    mean, variation = intervals(count, 1000.0)[0].unbind(dim=-1)
    assert float(mean.exp().mean()) == pytest.approx(1 / 20, rel=0.03)
    assert float(variation.mean()) == pytest.approx(1.0, abs=0.03)


def test_a_clock_has_neither() -> None:
    found = intervals(clockwork(50), 1000.0)[0, 0]
    assert float(found[0].exp()) == pytest.approx(0.05, rel=1e-5)
    assert float(found[1]) == pytest.approx(0.0, abs=1e-3)
    assert float(fano(clockwork(50), 1000.0)[0, 0, 0].exp()) < 0.06


def test_bursts_vary_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    rate = np.where(np.arange(20000) // 1000 % 2, 40.0, 2.0)
    count = torch.from_numpy(rng.poisson(rate / 1000, (1, 20, 20000))).float()
    assert float(fano(count, 1000.0).exp().mean()) > 1.5
    assert float(intervals(count, 1000.0)[..., 1].mean()) > 1.3


@pytest.mark.parametrize("bin_", [1, 4, 25])
def test_intervals_are_those_of_the_spike_times(bin_: int) -> None:
    """Spikes of one bin spread evenly in it: the definition on such times, by numpy."""
    fine = poisson(12.0, 5.0, rows=6)
    count = fine.unflatten(-1, (-1, bin_)).sum(dim=-1)
    found = intervals(count, 1000.0 / bin_)[0]
    for row, counts in enumerate(count[0].int().tolist()):
        times = np.array(
            [
                (at + (place + 0.5) / many) * bin_ / 1000
                for at, many in enumerate(counts)
                for place in range(many)
            ]
        )
        apart = np.diff(times)
        assert float(found[row, 0].exp()) == pytest.approx(apart.mean(), rel=1e-4)
        assert float(found[row, 1]) == pytest.approx(apart.std(ddof=1) / apart.mean(), rel=1e-3)


def test_silence_has_finite_answers() -> None:
    count = torch.zeros(1, 3, 80)
    count[0, 1, 7] = 1.0
    count[0, 2, [7, 47]] = 1.0
    mean, variation = intervals(count, 40.0)[0].unbind(dim=-1)
    torch.testing.assert_close(mean.exp(), torch.tensor([2.0, 2.0, 1.0]))
    assert variation.tolist() == [1.0, 1.0, 1.0]
    assert float(fano(count, 40.0)[0, 0, 0]) == pytest.approx(0.0, abs=1e-6)


def test_fano_is_its_definition() -> None:
    count = poisson(30.0, 4.0, rows=4)
    wide = count.unflatten(-1, (-1, 100)).sum(dim=-1).numpy()
    expected = (wide.var(axis=-1, ddof=1) + 0.1) / (wide.mean(axis=-1) + 0.1)
    np.testing.assert_allclose(fano(count, 1000.0)[..., 0].exp(), expected, rtol=1e-4)


def test_neurons_that_share_a_drive_go_together() -> None:
    rng = np.random.default_rng(0)
    drive = np.repeat(rng.uniform(0, 40, 300), 100)
    together = torch.from_numpy(rng.poisson(drive / 1000, (1, 2, 30000))).float()
    found = spike_correlation(together, 1000.0)[0, 0, 1, 0]
    wide = together[0].unflatten(-1, (-1, 100)).sum(dim=-1).numpy()
    assert float(found) == pytest.approx(np.corrcoef(wide)[0, 1], abs=1e-5)
    assert float(found) > 0.4
    assert abs(float(spike_correlation(poisson(20.0, 30.0, rows=2), 1000.0)[0, 0, 1, 0])) < 0.15


def test_slow_fluctuations_are_their_definition() -> None:
    """ALFF of a sine is half its size over the two bins of the range; the rest of the power is outside."""
    sfreq, time = 0.5, 2.0 * torch.arange(100)
    slow, fast = torch.sin(2 * math.pi * 0.05 * time), torch.sin(2 * math.pi * 0.2 * time)
    alone, both, outside = (
        slow_amplitude(wave[None, None], sfreq)[0, 0].exp() for wave in (3 * slow, slow + fast, fast)
    )
    inside = 14  # bins of 5 mHz from 10 up to 80
    assert float(alone[0]) == pytest.approx(3 / inside, rel=1e-2)
    assert float(alone[1]) == pytest.approx(1.0, rel=1e-2)
    assert float(both[1]) == pytest.approx(0.5, rel=1e-2)
    assert float(outside[1]) < 0.01


@pytest.mark.parametrize("modality", ["eeg", "fmri", "spikes"])
def test_statistics_come_in_the_order_of_their_names(modality: str) -> None:
    """Whatever order a recipe lists them in."""
    of = ("hjorth", "power")
    signal = torch.rand(2, 3, 64, generator=torch.Generator().manual_seed(0))
    assert row_names(modality, of) == row_names(modality, of[::-1])
    assert row_names(modality, of)[-2:] == ("mobility", "complexity")
    assert torch.equal(
        row_statistics(signal, 64.0, modality, of), row_statistics(signal, 64.0, modality, of[::-1])
    )
