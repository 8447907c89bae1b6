"""The embedder: scikit-learn's manners, the probe's features, and MOABB's evaluation beside our own."""

import warnings
from pathlib import Path
from typing import Any, Self

import mne
import numpy as np
import pytest
import tiny
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from brainfm import Embedder
from brainfm.checkpoint import SHIPPED
from brainfm.data.cards import DataCard, data_root
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation
from brainfm.jobs.probe import Options, probe
from brainfm.model import BrainFM
from brainfm.model_config import BrainFMConfig
from brainfm.panel import cached_features
from brainfm.probes import classifier
from tests.conftest import SMALL, MakeRecipe

SCALE = SMALL["signals"]["eeg"]["prepare"]
NOT_OURS: dict[str, str] = {}
"""Checks of scikit-learn that an embedder of volts can't pass, and why."""


@pytest.fixture(scope="module")
def checkpoint(make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network that brings any rate to its own."""
    steps = [{"kind": "resample", "sfreq": 128.0}, *SCALE]
    recipe = make_recipe(signals={"eeg": {**SMALL["signals"]["eeg"], "prepare": steps}})
    folder = tmp_path_factory.mktemp("embedder") / "checkpoint"
    BrainFM.fresh(BrainFMConfig.of(recipe), seed=0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def people() -> list[Any]:
    """Three people's two-second trials of two classes, as MNE has them."""
    return [epochs_of(number) for number in (1, 2, 3)]


def epochs_of(number: int, seconds: float = 60.0) -> Any:
    """The trials of one simulated person, as MOABB gives them: with whose they are in the metadata."""
    import pandas as pd

    raw = tiny.raw_of(tiny.person(number, seconds)).set_montage("standard_1005")
    events, ids = mne.events_from_annotations(raw, verbose="error")
    stop = 2.0 - 1 / raw.info["sfreq"]
    epochs = mne.Epochs(raw, events, ids, 0.0, stop, baseline=None, preload=True, verbose="error")
    place = {"subject": str(number), "session": "0", "run": "0"}
    epochs.metadata = pd.DataFrame([place] * len(epochs))
    return epochs


def array_of(epochs: Any) -> NDArray[np.float64]:
    return np.asarray(epochs.get_data(verbose="error"))


def test_it_has_the_manners_of_scikit_learn(checkpoint: Path) -> None:
    """Every check that scikit-learn has for an estimator; its numbers are taken for microvolts of one electrode."""
    one = Embedder(checkpoint, sfreq=4.0, names=["Cz"], unit="µV")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        done = check_estimator(one, expected_failed_checks=NOT_OURS, on_fail=None, on_skip=None)
    failed = {each["check_name"]: repr(each["exception"]) for each in done if each["status"] == "failed"}
    assert not failed
    assert {each["check_name"] for each in done if each["status"] == "xfail"} == set(NOT_OURS)
    assert sum(each["status"] == "passed" for each in done) > 35


def test_a_window_becomes_the_same_whoever_is_beside_it(checkpoint: Path, people: list[Any]) -> None:
    signal = array_of(people[0])
    embedder = Embedder(checkpoint, sfreq=128.0, names=people[0].ch_names).fit(signal)
    whole = embedder.transform(signal)
    assert whole.shape == (len(signal), 32 * len(people[0].ch_names)) and whole.std() > 0
    np.testing.assert_allclose(embedder.transform(signal[3:5]), whole[3:5], atol=1e-5)
    np.testing.assert_array_equal(embedder.transform(signal.reshape(len(signal), -1)), whole)


def test_a_test_window_changes_nothing_that_was_fitted(checkpoint: Path, people: list[Any]) -> None:
    signal = array_of(people[0])
    embedder = Embedder(checkpoint, sfreq=128.0, names=people[0].ch_names).fit(signal[:8])
    before = embedder.transform(signal[:8])
    loud = np.concatenate([signal[:8], 30 * signal[8:]])
    np.testing.assert_allclose(embedder.transform(loud)[:8], before, atol=1e-5)
    other = Embedder(checkpoint, sfreq=128.0, names=people[0].ch_names).fit(loud)
    assert np.abs(other.transform(signal[:8]) - before).max() > 0.01


def test_microvolts_that_are_said_to_be_volts_are_refused(checkpoint: Path, people: list[Any]) -> None:
    signal, names = array_of(people[0]), people[0].ch_names
    with pytest.raises(DataError, match="lies between"):
        Embedder(checkpoint, sfreq=128.0, names=names).fit(1e6 * signal)
    volts = Embedder(checkpoint, sfreq=128.0, names=names).fit_transform(signal)
    micro = Embedder(checkpoint, sfreq=128.0, names=names, unit="µV").fit_transform(1e6 * signal)
    np.testing.assert_allclose(micro, volts, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "give `sfreq` and `names`"),
        ({"sfreq": 128.0, "names": ["Cz", "Pz"]}, "8"),
        ({"sfreq": 128.0, "names": [f"E{n}" for n in range(8)], "modality": "meg"}, "not meg"),
    ],
)
def test_what_is_not_said_is_asked_for(
    checkpoint: Path, people: list[Any], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        Embedder(checkpoint, **settings).fit(array_of(people[0]))


def test_it_stands_in_a_pipeline(checkpoint: Path, people: list[Any]) -> None:
    signal = np.concatenate([array_of(one) for one in people[:2]])
    label = np.concatenate([one.events[:, 2] for one in people[:2]])
    embedder = Embedder(checkpoint, sfreq=128.0, names=people[0].ch_names)
    pipeline = make_pipeline(embedder, StandardScaler(), LogisticRegression(C=1e-3))
    fitted = clone(pipeline).set_params(embedder__pool="mean").fit(signal, label)
    assert fitted[:-2].transform(signal).shape == (len(signal), 32)
    assert fitted.score(signal, label) > 0.5


class Probe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Our probe as a last step; its inner folds hold out whole people, who come one after another and as many windows each."""

    def __init__(self, windows: int = 1) -> None:
        self.windows = windows

    def fit(self, features: NDArray[np.float32], y: NDArray[Any]) -> Self:
        self.classes_, label = np.unique(y, return_inverse=True)
        self.probe_ = classifier("ridge", label, np.arange(len(label)) // self.windows).fit(features, label)
        return self

    def predict_proba(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(self.probe_.predict_proba(features))

    def predict(self, features: NDArray[np.float32]) -> NDArray[Any]:
        return self.classes_[self.predict_proba(features).argmax(axis=1)]


def card_of(folder: Path, people: list[Any], metric: str = "auroc") -> Path:
    """A card of the same trials, a file for each person and session."""
    (folder / "fif").mkdir(parents=True)
    for epochs in people:
        place = epochs.metadata.iloc[0]
        name = f"sub{int(place.subject):02d}_{place.session}-epo.fif"
        epochs.save(folder / "fif" / name, fmt="double", verbose="error")
    seconds = len(people[0].times) / people[0].info["sfreq"]
    labels = "".join(f'"{name}", ' for name in sorted(people[0].event_id))
    more = (
        f"task:\n  labels: [{labels}]\n  window: {{kind: trials, seconds: {seconds}}}\n"
        f"  split: CrossSubject\n  metric: {metric}\n"
    )
    return tiny.card(folder, "trials", "{kind: mne_file}", "fif", "sub{subject}_{session}-epo.fif", more)


def both_score(
    paradigm: Any, dataset: Any, checkpoint: Path, folder: Path, metric: str
) -> list[dict[str, float]]:
    """Each person's score of the checkpoint's features by our probe, and by MOABB's own evaluation."""
    from moabb.evaluations import CrossSubjectEvaluation

    cut, _, found = paradigm.get_data(dataset, return_epochs=True)
    cut.event_id = dict(dataset.event_id)
    counts = found.groupby("subject").size()
    assert counts.nunique() == 1
    pipelines = {"brainfm": make_pipeline(Embedder(checkpoint), Probe(int(counts.iloc[0])))}
    run = CrossSubjectEvaluation(
        paradigm, [dataset], return_epochs=True, hdf5_path=str(folder), overwrite=True
    )
    theirs = run.process(pipelines).groupby("subject").score.mean()
    people = [cut[rows] for rows in found.groupby(["subject", "session"]).indices.values()]
    card = card_of(folder, people, metric)
    scores = probe([checkpoint], card, Options(quiet=True, classical="none", seeds=1))
    ours = {str(int(name)): row["frozen"] for name, row in scores.per_group.items()}
    return [ours, {str(int(name)): float(score) for name, score in theirs.items()}]


def test_epochs_become_the_features_of_the_probe(checkpoint: Path, people: list[Any], tmp_path: Path) -> None:
    evaluation = Evaluation.of(DataCard.load(card_of(tmp_path, people)))
    ours = cached_features(BrainFM.from_pretrained(checkpoint), evaluation, "sensor")
    every = mne.concatenate_epochs(people, verbose="error")
    mixed = np.random.default_rng(0).permutation(len(every))
    theirs = Embedder(checkpoint).fit(every).transform(every[mixed])
    np.testing.assert_allclose(theirs, ours[mixed], atol=1e-4)


def test_moabb_scores_it_as_our_probe_does(checkpoint: Path, tmp_path: Path, moabb: Any) -> None:
    from moabb.datasets.base import BaseDataset
    from moabb.paradigms import LeftRightImagery

    class Simulated(BaseDataset):  # type: ignore[misc]
        """Four simulated people, as a lab would wrap its own recordings."""

        def __init__(self) -> None:
            events = {"left_hand": 1, "right_hand": 2}
            super().__init__([1, 2, 3, 4], 1, events, "Simulated", [0, 2], "imagery")

        def _get_single_subject_data(self, subject: int) -> dict[str, dict[str, Any]]:
            raw = tiny.raw_of(tiny.person(subject, 60.0)).set_montage("standard_1005")
            return {"0": {"0": raw}}

        def data_path(self, *_: Any, **__: Any) -> None:
            return None

    # filters leave what our network would filter itself; MNE's epochs hold their last sample, so end one earlier
    paradigm = LeftRightImagery(fmin=1.0, fmax=40.0, tmin=0.0, tmax=2.0 - 1 / 128)
    ours, theirs = both_score(paradigm, Simulated(), checkpoint, tmp_path, "auroc")
    assert len(ours) == 4 and len(set(ours.values())) > 1
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_moabb_scores_real_recordings_as_our_probe_does(tmp_path: Path, moabb: Any) -> None:
    """Four people's steady-state responses of two sessions, by the checkpoint that comes with the package."""
    folder = data_root() / "eeg_ssvep_exo"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; BRAINFM_DATA names the folder of recordings")
    from moabb.datasets.base import BaseDataset
    from moabb.paradigms import SSVEP

    class Exo(BaseDataset):  # type: ignore[misc]
        """The recordings of the card eeg_ssvep_exo, whose files say V of what are mV."""

        def __init__(self) -> None:
            events = {"rest": 1, "13": 2, "17": 4, "21": 3}
            super().__init__([1, 2, 3, 4], 2, events, "Exo", [0, 5], "ssvep")

        def _get_single_subject_data(self, subject: int) -> dict[str, dict[str, Any]]:
            files = sorted((folder / f"subject{subject:02d}").glob("*_raw.fif.gz"))
            return {str(number): {"0": self.read(file)} for number, file in enumerate(files)}

        def read(self, file: Path) -> Any:
            raw = (
                mne.io.read_raw_fif(file, preload=True, verbose="error")
                .pick("eeg")
                .apply_function(lambda x: x / 1000)
            )
            marks = mne.read_events(str(file).replace("_raw.fif.gz", "-eve.fif"))
            names = {code: name for name, code in self.event_id.items()}
            notes = mne.annotations_from_events(marks, raw.info["sfreq"], names, first_samp=raw.first_samp)
            return raw.set_annotations(notes)

        def data_path(self, *_: Any, **__: Any) -> None:
            return None

    paradigm = SSVEP(fmin=1.0, fmax=45.0, tmin=0.0, tmax=2.0 - 1 / 256)
    ours, theirs = both_score(paradigm, Exo(), SHIPPED / "brainfm-tiny", tmp_path, "accuracy")
    # our probe leaves out whom it knows to have been in the pretraining
    assert {"1", "2"} <= set(ours) <= set(theirs) and len(set(ours.values())) > 1
    assert ours == pytest.approx({name: theirs[name] for name in ours}, abs=1e-6)
