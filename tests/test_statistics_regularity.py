"""How regular a signal is: antropy's answers, and signals that are known to be regular or not."""

import math

import antropy
import numpy as np
import pytest
import torch
from torch import Tensor

from brainfm.statistics.compression import count_phrases, lempel_ziv, repeats
from brainfm.statistics.entropy import permutation_entropy, sample_entropy


def signals(times: int = 300) -> Tensor:
    """(2, 4, time) white noise, a random walk, a noisy sine, a sine."""
    rng = np.random.default_rng(0)
    sine = np.sin(0.3 * np.arange(times) + rng.uniform(0, 6, (2, 1)))
    noise = rng.normal(size=(3, 2, times))
    return torch.from_numpy(
        np.stack([noise[0], noise[1].cumsum(axis=-1), sine + 0.3 * noise[2], sine], axis=1)
    )


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("tolerance", [0.1, 0.2])
def test_antropy_says_the_same_sample_entropy(order: int, tolerance: float) -> None:
    found = sample_entropy(signals(), order, tolerance)
    for window, rows in enumerate(signals().numpy()):
        for row, wave in enumerate(rows):
            expected = antropy.sample_entropy(wave, order, tolerance * wave.std())
            if np.isfinite(expected):
                assert float(found[window, row]) == pytest.approx(expected, abs=1e-6)


def test_noise_is_less_regular_than_a_sine() -> None:
    noise, walk, _, sine = sample_entropy(signals())[0].tolist()
    assert noise > 1.8 and walk < 1.0 and sine < 0.6


def test_where_nothing_is_alike_twice_the_entropy_is_the_largest_that_can_be_told() -> None:
    steps = torch.tensor([[[0.0, 1.0, 5.0, 14.0, 30.0, 55.0, 91.0]]])
    assert float(sample_entropy(steps, tolerance=0.01)) == 0.0  # nor two samples long
    twice = torch.tensor([[[0.0, 1.0, 5.0, 0.0, 1.0, 9.0, 20.0]]])
    assert (
        float(sample_entropy(twice, tolerance=0.01)) == 0.0
    )  # one pair of two samples, none of three counts as one
    assert float(sample_entropy(torch.zeros(1, 1, 50))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("order", "delay"), [(3, 1), (3, 4), (4, 2)])
def test_antropy_says_the_same_permutation_entropy(order: int, delay: int) -> None:
    found = permutation_entropy(signals(), order, delay)
    for window, rows in enumerate(signals().numpy()):
        for row, wave in enumerate(rows):
            expected = antropy.perm_entropy(wave, order, delay, normalize=True)
            assert float(found[window, row]) == pytest.approx(expected, abs=1e-6)


def test_a_rising_line_has_one_order() -> None:
    assert float(permutation_entropy(torch.arange(50.0)[None, None])) == pytest.approx(0.0, abs=1e-6)


def test_antropy_says_the_same_complexity() -> None:
    """Many sequences, short and long: a phrase too many or too few shows."""
    rng = np.random.default_rng(0)
    for times in (2, 3, 7, 50, 201):
        bits = rng.uniform(size=(20, times)) < rng.uniform(0.1, 0.9, (20, 1))
        found = count_phrases(repeats(torch.from_numpy(bits)))
        expected = [antropy.lziv_complexity(row) for row in bits]
        assert found.tolist() == expected


def test_repeats_are_their_definition() -> None:
    """By looking at every earlier place."""
    bits = np.random.default_rng(1).uniform(size=24) < 0.4
    found = repeats(torch.from_numpy(bits)[None])[0].tolist()
    for place, length in enumerate(found):
        longest = 0
        for earlier in range(place):
            same = 0
            while place + same < 24 and bits[earlier + same] == bits[place + same]:
                same += 1
            longest = max(longest, same)
        assert length == longest


def test_complexity_of_coin_flips_is_about_one_and_of_a_sine_far_less() -> None:
    coins = torch.randn(1, 20, 2000, generator=torch.Generator().manual_seed(0))
    assert float(lempel_ziv(coins).mean()) == pytest.approx(1.05, abs=0.1)
    assert float(lempel_ziv(torch.sin(0.1 * torch.arange(2000.0))[None, None])) < 0.1
    threes = float(lempel_ziv(torch.zeros(1, 1, 512)))
    assert threes == pytest.approx(2 * math.log2(512) / 512)  # "0" and all the rest
