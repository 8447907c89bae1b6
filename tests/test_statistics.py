"""Statistics of windows against signals with a known answer and definitions written in numpy."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from brainfm.errors import RecipeError
from brainfm.statistics import (
    blocks,
    known_blocks,
    pair_names,
    pair_statistics,
    row_fields,
    row_names,
    row_statistics,
    window_names,
)
from brainfm.statistics.fields import slopes
from brainfm.statistics.shape import hjorth
from brainfm.statistics.spectrum import BANDS, LINES, SLOW, band_power

SFREQ = 128.0
FIELD = BANDS | LINES


def sine(hertz: float, seconds: float = 4.0, amplitude: float = 1.0) -> Tensor:
    """(1, 1, time)"""
    time = torch.arange(round(seconds * SFREQ)) / SFREQ
    return (amplitude * torch.sin(2 * math.pi * hertz * time + 0.3))[None, None]


def head(sensors: int = 24) -> Tensor:
    """(1, sensor, 3) metres on a half sphere."""
    place = torch.randn(sensors, 3, generator=torch.Generator().manual_seed(0))
    place = 0.09 * place / place.norm(dim=1, keepdim=True)
    place[:, 2] = place[:, 2].abs()
    return place[None]


@pytest.mark.parametrize(
    ("hertz", "band"), [(2.5, "delta"), (6, "theta"), (10, "alpha"), (20, "beta"), (38, "gamma")]
)
def test_a_sine_is_loudest_in_its_band(hertz: float, band: str) -> None:
    power = dict(zip(FIELD, band_power(sine(hertz), SFREQ, FIELD)[0, 0].tolist(), strict=True))
    loudest = max(BANDS, key=power.__getitem__)
    assert loudest == band
    assert power[band] > 50 * max(power[other] for other in BANDS if other != band)


def test_a_line_tells_neighbouring_frequencies_apart() -> None:
    """13, 17 and 21 Hz, the steady-state responses that broad bands confuse."""
    for hertz in (13.5, 17.5, 21.5):
        power = dict(zip(FIELD, band_power(sine(hertz), SFREQ, FIELD)[0, 0].tolist(), strict=True))
        loudest = max(LINES, key=power.__getitem__)
        assert LINES[loudest][0] <= hertz < LINES[loudest][1]


def test_band_power_is_a_density() -> None:
    """White noise of variance 1 has 2/sfreq per hertz one-sided, 1/sfreq as computed here, in every band."""
    noise = torch.randn(1, 400, 512, generator=torch.Generator().manual_seed(0))
    power = band_power(noise, SFREQ, FIELD).mean(dim=1)[0]
    torch.testing.assert_close(power, torch.full((len(FIELD),), 1 / SFREQ), rtol=0.1, atol=0)
    torch.testing.assert_close(
        band_power(10 * noise, SFREQ, FIELD), 100 * band_power(noise, SFREQ, FIELD), rtol=1e-3, atol=1e-5
    )
    torch.testing.assert_close(
        band_power(noise + 7, SFREQ, FIELD), band_power(noise, SFREQ, FIELD), rtol=1e-2, atol=1e-5
    )


@pytest.mark.parametrize("seconds", [0.25, 0.5, 2.0])
@pytest.mark.parametrize("sfreq", [40.0, 128.0, 500.0])
def test_short_windows_low_rates_and_silence_stay_finite(seconds: float, sfreq: float) -> None:
    signal = torch.randn(2, 3, round(seconds * sfreq), generator=torch.Generator().manual_seed(0))
    signal[1, 2] = 0.0
    for modality in ("eeg", "meg", "seeg", "fmri", "spikes", "behaviour"):
        rows = row_statistics(signal.abs(), sfreq, modality, known_blocks())
        assert rows.shape == (2, 3, len(row_names(modality, known_blocks())))
        pairs = pair_statistics(signal.abs(), sfreq, modality, known_blocks())
        assert pairs.shape == (2, 3, len(pair_names(modality, known_blocks())))
        assert torch.isfinite(rows).all() and torch.isfinite(pairs).all()


def test_the_blood_has_slow_bands_of_its_own() -> None:
    time = 2.0 * torch.arange(300)
    wave = torch.sin(2 * math.pi * 0.05 * time)[None, None]
    power = band_power(wave, 0.5, SLOW)[0, 0]
    assert list(SLOW)[int(power.argmax())] == "slow-4"


def test_spikes_are_described_by_their_rate() -> None:
    counts = torch.zeros(1, 2, 200)
    counts[0, 1, ::10] = 1.0  # twenty spikes in two seconds
    values = row_statistics(counts, 100.0, "spikes")
    rate = values[0, :, row_names("spikes").index("rate")].exp() - 0.1
    torch.testing.assert_close(rate, torch.tensor([0.0, 10.0]), atol=1e-4, rtol=1e-4)


def test_behaviour_is_described_by_where_it_is() -> None:
    """Bands and descriptors of Hjorth do not change with an offset, so without its level a place could not be told."""
    walk = torch.randn(1, 2, 80, generator=torch.Generator().manual_seed(0)).cumsum(dim=-1)
    here, there = (row_statistics(walk + at, 40.0, "behaviour") for at in (0.0, 3.0))
    level = row_names("behaviour").index("level")
    torch.testing.assert_close(there[..., level] - here[..., level], torch.full((1, 2), 3.0))
    torch.testing.assert_close(there[..., :level], here[..., :level], atol=1e-3, rtol=1e-3)


def test_hjorth_is_its_definition() -> None:
    """Hjorth 1970: mobility is the spread of the slope over that of the signal, complexity the slope's mobility over it."""
    rng = np.random.default_rng(0)
    signal = np.cumsum(rng.normal(size=(2, 3, 300)), axis=-1)

    def mobility(x: np.ndarray) -> np.ndarray:
        return np.sqrt(np.diff(x).var(axis=-1, ddof=1) / x.var(axis=-1, ddof=1))

    found = hjorth(torch.from_numpy(signal)).exp().numpy()
    np.testing.assert_allclose(found[..., 0], mobility(signal), rtol=1e-4)
    np.testing.assert_allclose(found[..., 1], mobility(np.diff(signal)) / mobility(signal), rtol=1e-4)


def test_a_sine_is_the_simplest_curve() -> None:
    values = hjorth(sine(10.0, seconds=20.0)).exp()[0, 0]
    assert float(values[0]) == pytest.approx(2 * math.sin(math.pi * 10 / SFREQ), rel=1e-3)
    assert float(values[1]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slopes_find_a_planted_gradient(axis: int) -> None:
    position = head()
    power = (3.0 + 20.0 * position[..., axis]).unsqueeze(-1)
    found = slopes(power, position, torch.ones(1, 24, dtype=torch.bool), ridge=1e-6)[0, 0]
    assert float(found[0]) == pytest.approx(float(power.mean()))
    expected = torch.zeros(3)
    expected[axis] = 2.0  # 20 per metre
    torch.testing.assert_close(found[1:], expected, atol=1e-3, rtol=1e-3)


def test_the_ridge_shrinks_but_keeps_the_sign() -> None:
    position = head()
    power = (20.0 * position[..., :1]).contiguous()
    everywhere = torch.ones(1, 24, dtype=torch.bool)
    loose, tight = slopes(power, position, everywhere), slopes(power, position, everywhere, ridge=10.0)
    assert 0 < float(tight[0, 0, 1]) < float(loose[0, 0, 1]) < 2.0
    assert float(loose[0, 0, 1]) > 5 * abs(float(loose[0, 0, 2]))


def test_a_flat_montage_gives_no_slope_across_it() -> None:
    position = head()
    position[..., 2] = 0.0
    power = torch.randn(1, 24, 1, generator=torch.Generator().manual_seed(0))
    found = slopes(power, position, torch.ones(1, 24, dtype=torch.bool))
    assert torch.isfinite(found).all()
    assert float(found[0, 0, 3]) == pytest.approx(0.0, abs=1e-6)


def test_sensors_without_position_count_in_the_mean_alone() -> None:
    position, power = head(), 3.0 + 20.0 * head()[..., :1]
    located = torch.ones(1, 24, dtype=torch.bool)
    located[0, :4] = False
    loud = power.clone()
    loud[0, :4] += 100.0
    plain, shifted = slopes(power, position, located), slopes(loud, position, located)
    torch.testing.assert_close(shifted[0, 0, 1:], plain[0, 0, 1:], atol=1e-4, rtol=1e-4)
    assert float(shifted[0, 0, 0] - plain[0, 0, 0]) == pytest.approx(100 * 4 / 24, rel=1e-4)
    anywhere = position.clone()
    anywhere[0, :4] = 5.0
    torch.testing.assert_close(slopes(power, anywhere, located), plain)
    alone = slopes(power[:, 4:], position[:, 4:], located[:, 4:])
    torch.testing.assert_close(plain[0, 0, 1:], alone[0, 0, 1:], atol=1e-4, rtol=1e-4)
    nowhere = slopes(power, torch.zeros_like(position), torch.zeros_like(located))
    torch.testing.assert_close(nowhere[0, 0, 1:], torch.zeros(3))


def test_the_order_of_sensors_does_not_matter() -> None:
    signal = torch.randn(1, 24, 256, generator=torch.Generator().manual_seed(0))
    position, located = head(), torch.ones(1, 24, dtype=torch.bool)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    values = row_statistics(signal, SFREQ, "eeg")
    mixed = row_statistics(signal[:, order], SFREQ, "eeg")
    torch.testing.assert_close(mixed, values[:, order])
    torch.testing.assert_close(
        row_fields(mixed, position[:, order], located[:, order]),
        row_fields(values, position, located),
        atol=1e-5,
        rtol=1e-5,
    )


def test_fields_are_named_in_their_order() -> None:
    """A louder right hand side in alpha moves `alpha_x` more than any other slope."""
    position = head()
    quiet = 0.1 * torch.randn(1, 24, 512, generator=torch.Generator().manual_seed(0))
    signal = quiet + sine(10.0) * (1 + 8 * position[0, :, :1])
    fields = row_fields(row_statistics(signal, SFREQ, "eeg"), position, torch.ones(1, 24, dtype=torch.bool))[
        0
    ]
    assert fields.shape == (len(window_names("eeg")),)
    named = dict(zip(window_names("eeg"), fields.tolist(), strict=True))
    slope = {name: abs(value) for name, value in named.items() if not name.endswith("mean")}
    band = {name: slope[f"{name}_x"] for name in BANDS}
    assert max(band, key=band.__getitem__) == "alpha" and named["alpha_x"] > 0
    assert slope["alpha_x"] > max(slope["alpha_y"], slope["alpha_z"])
    assert max(list(BANDS), key=lambda band: named[f"{band}_mean"]) == "alpha"


def test_a_modality_takes_the_blocks_that_it_has() -> None:
    assert list(blocks("fmri", ("rate", "hjorth", "power"))) == ["power", "hjorth"]
    assert row_names("eeg", ("rate", "power")) == tuple(BANDS)
    with pytest.raises(RecipeError, match="fmri has none of the statistics rate; it has power, hjorth, alff"):
        blocks("fmri", ("rate",))
