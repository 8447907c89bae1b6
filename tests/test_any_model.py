"""Models of others: their contract is fulfilled or refused, and they pass through the same table as ours."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

import brainfm
from brainfm import Contract
from brainfm.data.cards import DataCard
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError
from brainfm.estimator import Estimator
from brainfm.evaluation import Evaluation
from brainfm.jobs.probe import Options, probe
from brainfm.pooling import Pool

QUICK = Options(quiet=True, classical="none", seeds=1)
NAMES = ("Fp1", "C3", "T7", "P7", "Cz")


@pytest.fixture(scope="module")
def card(folder: Path) -> Path:
    return tiny.people(folder, subjects=4, seconds=60.0)


def recording(sfreq: float = 200.0, names: Sequence[str] = NAMES, seconds: float = 4.0) -> Recording:
    """Ten microvolts of noise; sensor n is n times as loud as the first."""
    data = np.random.default_rng(0).normal(0, 1e-5, (len(names), int(seconds * sfreq)))
    data *= np.arange(1, len(names) + 1)[:, None]
    return Recording({"eeg": Signal(data, sfreq, Sensors.of(names, "eeg", "V"))}, source="noise")


def fulfilled(contract: Contract, made: Recording) -> Signal:
    return contract(made, "eeg").signal("eeg")


def test_sensors_are_put_in_the_models_order_whatever_they_are_called() -> None:
    given = recording()
    got = fulfilled(Contract(sensors=["T5", "FP1", "t3"]), given)
    assert got.sensors.name == ("T5", "FP1", "t3")
    np.testing.assert_array_equal(got.load(), given.signal("eeg").load()[[3, 0, 2]])


def test_bipolar_sensors_are_made_of_two() -> None:
    given = recording()
    got = fulfilled(Contract(sensors=["FP1-C3", "T7-P7"]), given)
    data = given.signal("eeg").load()
    np.testing.assert_allclose(got.load(), [data[0] - data[1], data[2] - data[3]], atol=1e-20)


def test_unit_rate_and_reference_are_brought_to_the_models() -> None:
    given = recording(400.0)
    got = fulfilled(Contract(sfreq=200.0, scale=1e6, reference="average"), given)
    assert (got.sfreq, got.n_times, set(got.sensors.unit)) == (200.0, 800, {"1"})
    np.testing.assert_allclose(got.load().mean(axis=0), 0, atol=1e-9)
    assert 1 < got.load().std() < 100  # microvolts


@pytest.mark.parametrize(
    ("contract", "made", "words"),
    [
        (Contract(sensors=["Cz", "Oz"]), recording(), "lacks Oz: 1 of the 2 sensors"),
        (Contract(sensors=["Fp1-Oz"]), recording(), "lacks Fp1-Oz"),
        (Contract(sfreq=200.0), recording(100.0), "lack all above 50 Hz"),
        (Contract(modality="meg"), recording(), "reads meg, not eeg"),
    ],
    ids=["montage", "pair", "rate", "instrument"],
)
def test_what_would_have_to_be_made_up_is_refused_in_one_sentence(
    contract: Contract, made: Recording, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        contract(made, "eeg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("z_score", (0.0, 1.0)), ("percentile", (None, None)), ("range", (None, None))],
)
def test_windows_are_normalised_each_on_its_own(how: Any, expected: tuple[float, float]) -> None:
    windows = np.random.default_rng(1).normal(3, [[[1.0]], [[50.0]]], (2, 3, 400))
    got = Contract(normalise=how).on_window(windows)
    np.testing.assert_allclose(got, Contract(normalise=how).on_window(1000 * windows), atol=1e-9)
    if how == "z_score":
        np.testing.assert_allclose(
            [got.mean(-1), got.std(-1)], [np.zeros((2, 3)), np.ones((2, 3))], atol=1e-9
        )
    elif how == "percentile":
        np.testing.assert_allclose(np.quantile(np.abs(got), 0.95, axis=-1), 1)
    else:
        np.testing.assert_allclose([got.max(axis=(1, 2)), -got.min(axis=(1, 2))], 1)


class Energy(nn.Module):
    """How strong each sensor is in two bands, plus one: enough to tell the hands apart, in microvolts."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        hertz = torch.arange(129) / 2
        bands = torch.stack([(hertz >= low) & (hertz <= high) for low, high in ((8, 13), (16, 26))]).float()
        if seed is not None:
            bands = torch.rand(bands.shape, generator=torch.Generator().manual_seed(seed)) / 20
        self.bands = nn.Parameter(bands)

    def forward(self, x: Tensor) -> Tensor:
        power = torch.fft.rfft(x - x.mean(dim=2, keepdim=True)).abs().square() / x.shape[2]
        return (1 + power @ self.bands.T).log().unsqueeze(2)


def test_a_module_of_ones_own_gets_the_whole_table(card: Path) -> None:
    contract = Contract(sfreq=128.0, scale=1e6)
    model = brainfm.foreign(Energy(), contract, name="energy", grid=True, untrained=Energy)
    scores = probe([model], card, QUICK)
    rows = {row.name: row for row in scores.rows}
    assert list(rows) == ["chance", "shuffled", "untrained", "frozen"]
    assert rows["frozen"].score > 0.6 and rows["frozen"].score > rows["untrained"].score
    assert scores.pool == "sensor" and scores.contamination.startswith("unknown") and scores.contaminated
    assert scores.differences[0].name == "frozen − untrained"


def test_volts_to_a_model_of_microvolts_are_worth_nothing(card: Path) -> None:
    """What a contract is for: the same weights, given the wrong unit, tell the hands apart no better than chance."""
    wrong = brainfm.foreign(Energy(), Contract(sfreq=128.0), name="energy", grid=True)
    right = brainfm.foreign(Energy(), Contract(sfreq=128.0, scale=1e6), name="energy", grid=True)
    scores = [probe([one], card, QUICK).best("frozen") for one in (wrong, right)]
    assert scores[0] and scores[1] and scores[0].score == 0.5 and scores[1].score > 0.6


def test_without_a_twin_the_row_is_left_out_and_said(card: Path) -> None:
    scores = probe([brainfm.foreign(Energy(), Contract(scale=1e6), name="energy")], card, QUICK)
    assert [row.name for row in scores.rows] == ["chance", "shuffled", "frozen"]
    assert "energy can't be had untrained, so what training added is not known" in scores.notes


def test_any_callable_is_a_model_and_keeps_nothing_in_the_cache(card: Path, cache: Path) -> None:
    before = set(cache.glob("*"))
    scores = probe([brainfm.foreign(lambda x: x.abs().mean(dim=2), Contract(scale=1e6))], card, QUICK)
    assert scores.rows[-1].name == "frozen" and scores.rows[-1].n_test > 20
    assert set(cache.glob("*")) == before


class Alike(nn.Module):
    """No tensors, and a name that says nothing: only its code tells two of these apart."""

    def __init__(self, told: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.told, self.calls = told, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.told(x)


def test_a_modules_features_are_made_once_a_probe_and_never_taken_for_those_of_other_code(card: Path) -> None:
    loud, still = Alike(lambda x: x.std(dim=2)), Alike(lambda x: x.mean(dim=2) * 0)
    made = [brainfm.foreign(one, Contract(scale=1e6), name="same") for one in (loud, still, loud)]
    scores = [probe([one], card, QUICK).best("frozen") for one in made[:2]]
    assert scores[0] and scores[1] and scores[0].score != scores[1].score == 0.5
    once = loud.calls
    loud.told = still.told
    again = probe([made[0]], card, QUICK).best("frozen")
    assert again and again.score == 0.5 and loud.calls == 2 * once
    one = Evaluation.of(DataCard.load(card))
    assert once < 2 * (
        len(one.windows) // 32 + len(one.recordings) + 1
    )  # not once more for each of four folds


@pytest.mark.parametrize("pool", ["place", "moments"])
def test_a_pool_that_asks_for_places_is_refused_by_name(card: Path, pool: Pool) -> None:
    model = brainfm.foreign(Energy(), Contract(scale=1e6), name="energy", grid=True)
    with pytest.raises(DataError, match=f"energy says of no part where and when it is, so pool={pool}"):
        probe([model], card, replace(QUICK, pool=pool))


def test_a_missing_sensor_is_told_to_a_model_that_asks(card: Path) -> None:
    heard: list[Tensor] = []

    def network(x: Tensor, mask: Tensor) -> Tensor:
        heard.append(mask)
        assert x.shape[1] == 3 and not x[:, ~mask].any() and x[:, mask].any()
        return x.std(dim=2)

    contract = Contract(sensors=["C3", "Iz", "C4"], missing="mask")
    probe([brainfm.foreign(network, contract)], card, QUICK)
    assert heard and all(mask.tolist() == [True, False, True] for mask in heard)


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        (Contract(seconds=3.0), "reads windows of 3 s, not 2 s"),
        (Contract(sfreq=128.0, patch=0.75), "whole patches of 0.75 s, not 2 s"),
        (Contract(sensors=["Cz", "Iz"]), "lacks Iz"),
        (Contract(sfreq=400.0), "reads 400 Hz"),
    ],
    ids=["length", "patch", "montage", "rate"],
)
def test_a_card_that_does_not_fit_is_refused(card: Path, contract: Contract, words: str) -> None:
    with pytest.raises(DataError, match=words):
        probe([brainfm.foreign(Energy(), contract)], card, QUICK)


def test_a_lower_rate_is_brought_up_and_said(card: Path) -> None:
    scores = probe([brainfm.foreign(lambda x: x.std(dim=2), Contract(sfreq=200.0))], card, QUICK)
    assert any(
        "brought up to the model's 200 Hz and hold nothing above 64 Hz" in note for note in scores.notes
    )


def test_the_embedder_takes_them_too() -> None:
    given = recording(256.0, seconds=8.0).signal("eeg")
    windows = given.load().reshape(len(NAMES), 4, -1).swapaxes(0, 1)
    model = brainfm.foreign(lambda x: x.std(dim=2), Contract(sfreq=128.0, scale=1e6, sensors=["P7", "Fp1"]))
    got = brainfm.Embedder(model, sfreq=256.0, names=NAMES).fit_transform(windows)
    assert got.shape == (4, 2)
    # microvolts of the fourth and the first sensor, of which a lower rate has kept half the noise's power
    np.testing.assert_allclose(got.mean(axis=0), [40 / np.sqrt(2), 10 / np.sqrt(2)], rtol=0.1)


def test_an_estimator_is_a_row_fitted_in_each_fold(card: Path) -> None:
    lda = make_pipeline(PCA(4, random_state=0), LinearDiscriminantAnalysis())
    scores = probe([lda, Estimator(StandardScaler(), name="scaled")], card, QUICK)
    assert [row.name for row in scores.rows] == [
        "chance",
        "estimator:LinearDiscriminantAnalysis",
        "estimator:scaled",
    ]
    assert all(np.isfinite(row.low) and row.n_test > 20 for row in scores.rows[1:])


def test_an_estimator_sees_no_test_window(card: Path) -> None:
    seen: list[int] = []

    class Nosy(GaussianNB):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            seen.append(len(X))
            return super().fit(X, y)

    scores = probe([Estimator(Nosy(), flat=True)], card, QUICK)
    total = scores.rows[-1].n_test
    assert len(seen) == 4 and all(count < total for count in seen) and sum(seen) == 3 * total


def test_a_bad_model_is_one_sentence(card: Path) -> None:
    result = tiny.brainfm("probe", "braindecoder:Labram", card)
    assert "'braindecoder' is no kind of model; did you mean 'braindecode'?" in tiny.only_sentence(result)


def test_a_signal_of_another_place_is_where_its_parts_are() -> None:
    given = recording(names=["C3", "C4"])
    signal = given.signal("eeg")
    place = np.array([[-0.05, 0.0, 0.06], [0.05, 0.0, 0.06]])
    placed = given.with_signal("eeg", replace(signal, sensors=replace(signal.sensors, position=place)))
    got = fulfilled(Contract(sensors=["C3-C4"]), placed)
    np.testing.assert_allclose(got.sensors.position, [[0.0, 0.0, 0.06]], atol=1e-12)
