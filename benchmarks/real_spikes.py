"""Classical decoding of the real spiking sets: the figures that a frozen probe has to beat. One command, a minute.

    python benchmarks/real_spikes.py --json

Objects from inferior temporal cortex and targets from motor cortex by the classifiers of `brainfm.baselines`; the
cursor's velocity by a Wiener filter; the rat's place by a Bayesian decoder. Regularisation is chosen inside the
training part alone; blocks that are held out are contiguous in time. Recordings are read by the cards, so
BRAINFM_DATA says where they are.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from asked import Asked
from numpy.typing import NDArray
from score_tables import Found, decimals, markdown
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from brainfm.baselines import Baseline
from brainfm.baselines.binned_rates import BinnedRates
from brainfm.baselines.max_correlation import MaxCorrelation
from brainfm.data.cards import DataCard
from brainfm.data.preprocess.bin_counts import BinCounts
from brainfm.data.recording import Recording, Signal
from brainfm.data.spike_times import SpikeTimes
from brainfm.data.windows import take
from brainfm.data.windows.sliding import Sliding
from brainfm.evaluation import Evaluation
from brainfm.regressors.bayesian import Bayesian

ALPHAS = np.logspace(0, 6, 13)
"""Of ridge regression on standardised counts."""
FOLDS = 5
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """One number: what was decoded how, its score, what stands for chance, and the catalogue's figure for the same files."""

    card: str
    what: str
    decoder: str
    metric: str
    score: float
    control: float
    catalogue: float | None
    n_test: int


def main() -> None:
    """Every figure, as a table or as JSON."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--json", action="store_true")
    found = every()
    if arguments.parse_args().json:
        print(json.dumps({"rows": [asdict(one) for one in found]}, indent=1))  # noqa: T201
        return
    for one in found:
        said = f"{one.card:22} {one.what:28} {one.decoder:18} {one.metric:18} {one.score:8.3f}"
        print(f"{said}   control {one.control:.3f}, catalogue {one.catalogue}, n {one.n_test}")  # noqa: T201


def every() -> list[Figure]:
    """All figures."""
    return [*objects(), *targets(), *velocity(), *place()]


def measured(asked: Asked) -> dict[str, Any]:
    """All figures; a check has the first of these sets alone."""
    parts = asked.few([objects, targets, velocity, place])
    return {"rows": [asdict(one) for part in parts for one in part()]}


def lines(found: Found) -> list[str]:
    """The table."""
    rows = [
        [
            *(one[key] for key in ("card", "what", "decoder", "metric")),
            *map(decimals, figures(one)),
            str(one["n_test"]),
        ]
        for one in found["rows"]
    ]
    head = ["set", "decoded", "decoder", "metric", "score", "control", "catalogue", "tested"]
    return markdown(head, rows)


def figures(one: Found) -> list[float | None]:
    """The numbers of a row."""
    return [one["score"], one["control"], one["catalogue"]]


def objects() -> list[Figure]:
    """Which of seven objects was seen, over twenty blocks of pseudo-trials; the control is the half second before it was."""
    card = DataCard.load("spk_zhang_desimone")
    assert card.task is not None
    before = card.task.window.model_copy(update={"offset": -0.45})
    after, control = Evaluation.of(card), Evaluation.of(card, window=before)
    parts: list[tuple[Baseline, float | None]] = [
        (MaxCorrelation(bins=7), 0.893),
        (BinnedRates(bins=2), None),
    ]
    return [
        Figure(card.name, "object", part.kind, "accuracy", scored(after, part), scored(control, part), said, len(after.tested))
        for part, said in parts
    ]  # fmt: skip


def scored(evaluation: Evaluation, part: Baseline) -> float:
    """A baseline's score on an evaluation."""
    return evaluation.row(part.kind, [evaluation.baseline(part)]).score


def targets() -> list[Figure]:
    """Which of four targets is reached for, from one bin of counts: the repository's first part trains, its second tests."""
    card = DataCard.load("spk_dad_m1")
    assert card.task is not None
    recordings = card.recordings()
    windows = Sliding(seconds=0.01)(recordings, "spikes", card.task.labels)
    signal = take(recordings, windows, np.arange(len(windows)), "spikes").astype(np.float64)
    train = windows.start < parted(recordings[0])[0] / 100.0 - 1e-6
    trial = np.searchsorted(
        recordings[0].signal("spikes").breaks, np.round(windows.start * 100), side="right"
    )
    zeros = np.zeros(len(windows), np.int64)
    out = []
    for part, said in ((BinnedRates(), 0.751), (MaxCorrelation(), None)):
        decoder = part.build(100.0, signal.shape[1], 4)
        decoder.fit(signal[train], windows.label[train], zeros[train], trial[train])
        right = decoder.predict_proba(signal[~train], zeros[~train]).argmax(axis=1) == windows.label[~train]
        chance = np.bincount(windows.label[~train]).max() / (~train).sum()
        what, score, control = "target, part 1 to part 2", float(right.mean()), float(chance)
        out.append(Figure(card.name, what, part.kind, "accuracy", score, control, said, len(right)))
    return out


def parted(recording: Recording) -> tuple[int, NDArray[np.int64]]:
    """The bin at which the repository's test part begins, and the trial of every bin."""
    signal = recording.signal("spikes")
    trial = np.searchsorted(signal.breaks, np.arange(signal.n_times), side="right")
    # 38 whole trials and the one that was cut make the 1200 bins of the first part
    return int(signal.breaks[38]), trial


def velocity() -> list[Figure]:
    """The cursor's velocity by a Wiener filter: ridge on the counts of this bin and some before, within a trial."""
    card = DataCard.load("spk_dad_m1")
    (recording,) = card.recordings()
    counts, moved = recording.signal("spikes").load(), recording.tracks["velocity"].data
    at, trial = parted(recording)
    train = np.arange(len(moved)) < at
    out = []
    for lags in (1, 5):
        past = history(counts, trial, lags)
        guess = wiener(past[train], moved[train], trial[train], past[~train])
        shifted = wiener(past[train], np.roll(moved[train], 400, axis=0), trial[train], past[~train])
        what = f"velocity, {lags} bin{'s' if lags > 1 else ''}"
        score, control = r2(moved[~train], guess), r2(moved[~train], shifted)
        said = 0.51 if lags == 1 else None
        out.append(Figure(card.name, what, "wiener", "R2", score, control, said, len(guess)))
    return out


def history(counts: Array, trial: NDArray[np.int64], lags: int) -> Array:
    """(bin, neuron · lag) counts of each bin and those before it, zero before its trial's start."""
    out = []
    for lag in range(lags):
        moved = np.roll(counts, lag, axis=1)
        moved[:, np.roll(trial, lag) != trial] = 0
        moved[:, :lag] = 0
        out.append(moved)
    return np.concatenate(out).T


def wiener(train: Array, target: Array, group: NDArray[np.int64], test: Array) -> Array:
    """Predictions of a ridge regression whose penalty is chosen on whole groups of the training part left out."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread == 0] = 1
    train, test = (train - mean) / spread, (test - mean) / spread
    folds = list(GroupKFold(FOLDS).split(train, groups=group))
    loss = [
        sum(
            ((target[b] - Ridge(alpha).fit(train[a], target[a]).predict(train[b])) ** 2).sum()
            for a, b in folds
        )
        for alpha in ALPHAS
    ]
    return np.asarray(Ridge(ALPHAS[int(np.argmin(loss))]).fit(train, target).predict(test))


def r2(true: Array, guess: Array) -> float:
    """The mean over dimensions of the share of variance that is explained; below 0 for a guess worse than the mean."""
    return float(
        np.mean(1 - ((true - guess) ** 2).sum(axis=0) / ((true - true.mean(axis=0)) ** 2).sum(axis=0))
    )


def place(seconds: float = 0.25) -> list[Figure]:
    """The rat's place along its track, from windows of a quarter second, over contiguous folds.

    The control gives every window the guess of another.
    """
    card = DataCard.load("spk_nelpy_ca1")
    (recording,) = card.recordings()
    binned: Signal = BinCounts(seconds=seconds)(recording, "spikes").signal("spikes")
    assert isinstance(binned.data, SpikeTimes)
    counts = binned.load()
    where = along_track(recording, binned)
    known = np.flatnonzero(np.isfinite(where))
    guess = np.full(len(where), np.nan)
    for block in np.array_split(known, FOLDS):
        # windows at the border share nothing, yet leave one out on either side
        train = np.setdiff1d(known, np.arange(block[0] - 1, block[-1] + 2))
        fitted = Bayesian().build(1 / seconds).fit(counts.T[train, :, None], where[train, None], train)
        guess[block] = fitted.predict(counts.T[block, :, None])[:, 0]
    error = np.abs(guess[known] - where[known])
    wrong = np.abs(np.random.default_rng(0).permutation(guess[known]) - where[known])
    what = f"place, {seconds * 1000:.0f} ms, span {np.ptp(where[known]):.0f} px"
    score, control = float(np.median(error)), float(np.median(wrong))
    return [Figure(card.name, what, "bayesian", "median error (px)", score, control, 43.0, len(known))]


def along_track(recording: Recording, signal: Signal) -> Array:
    """(bin,) the place along the track's first principal direction in each bin; NaN where the light was lost."""
    track = recording.tracks["position"]
    middle = ((np.arange(signal.n_times) + 0.5) / signal.sfreq - track.start) * track.rate
    place = track.data[np.clip(np.round(middle).astype(int), 0, len(track.data) - 1)]
    seen = track.data[np.isfinite(track.data).all(axis=1)]
    _, _, direction = np.linalg.svd((seen - seen.mean(axis=0))[::20], full_matrices=False)
    return np.asarray((place - seen.mean(axis=0)) @ direction[0])


if __name__ == "__main__":
    main()
