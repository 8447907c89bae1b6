"""Which checkpoint may judge which held-out people, and what each makes of the windows."""

import hashlib
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.cards import overlaps_with
from brainfm.data.leaks import Fold
from brainfm.data.modalities import owner
from brainfm.data.recording import Recording
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation
from brainfm.files import write_file
from brainfm.foreign_model import Foreign
from brainfm.manifest import Spans, Verdict
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM
from brainfm.pooling import ANY_SENSORS, Pool
from brainfm.probes import Protocol, classifier
from brainfm.recipe import WITHOUT_EFFECT
from brainfm.scores import Aside
from brainfm.targeted import Targeted

VERSION = 3
"""Of the features in the cache: raised whenever code makes other features of the same weights and recordings."""
SEVERITY: tuple[Verdict, ...] = ("clean", "unknown", "seen without labels", "seen with labels")
LARGEST = 1 << 30
"""Bytes of tokens that are held in memory for the attentive probe."""


@dataclass(frozen=True)
class Panel:
    """The models by seed and, for every seed and fold, the one that may judge it.

    A model is a `BrainFM`, or what has the same manners: `foreign_model.Foreign`.
    """

    models: dict[int, list[BrainFM]]
    chosen: dict[tuple[int, int], BrainFM]
    evaluation: Evaluation
    left_out: int
    contamination: str
    contaminated: bool

    @classmethod
    def of(cls, models: Sequence[BrainFM], evaluation: Evaluation, strict: bool = False) -> "Panel":
        """Choose, for every seed and fold, a model that saw nothing of the test side, where there is one.

        Folds that no model may judge are left out if others remain: pretraining held those people out to be tested. Raises
        `DataError` for models that are not seeds of one recipe, and with `strict` where test data were seen.
        """
        by_seed = seeds_of(models)
        clean = clean_models(by_seed, evaluation)
        every = range(len(evaluation.folds))
        judged = [number for number in every if all((seed, number) in clean for seed in by_seed)]
        unknown = any(not model.manifest.entries and not model.untouched for model in models)
        numbers = judged or list(every)
        kept = replace(evaluation, folds=[evaluation.folds[number] for number in numbers])
        chosen = {
            (seed, new): clean.get((seed, old), several[0])
            for seed, several in by_seed.items()
            for new, old in enumerate(numbers)
        }
        words, bad = contamination(kept, chosen, unknown, bool(judged))
        if strict and (unknown or not judged):
            why = "a checkpoint does not say what it saw" if unknown else words
            if words.startswith("seen"):
                why = "every test recording was seen in pretraining"
            raise DataError(f"{evaluation.card.name}: {why}; --strict refuses to score it")
        return cls(by_seed, chosen, kept, len(every) - len(numbers), words, bad)

    @cached_property
    def verdicts(self) -> dict[int, Verdict]:
        """The worst verdict of the judging models on what is tested of each recording, by the recording's row."""
        out: dict[int, Verdict] = {}
        overlaps = {
            id(model): overlaps_with(self.evaluation.card, model.manifest.datasets)
            for model in self.chosen.values()
        }
        for (_, number), model in self.chosen.items():
            for index, windows in tested(self.evaluation, self.evaluation.folds[number]).items():
                recording = self.evaluation.recordings[index]
                found = model.manifest.verdict(recording, self.evaluation.modality, windows)
                if found == "clean" and model.manifest.shared(recording, overlaps[id(model)]):
                    found = "unknown"  # what it shares with the training data can't be told from its signal
                out[index] = max(out.get(index, "clean"), found, key=SEVERITY.index)
        return out

    @property
    def exposure(self) -> dict[str, str]:
        """The same by the recording's place in its dataset."""
        out: dict[str, str] = {}
        for index, verdict in self.verdicts.items():
            one = self.evaluation.recordings[index]
            place = "/".join(filter(None, (one.dataset, one.subject, one.session, one.run)))
            out[place] = max(out.get(place, "clean"), verdict, key=SEVERITY.index)
        return out

    def clean_only(self, predictions: Mapping[str, Sequence[Probabilities]]) -> Aside | None:
        """The rows on the clean recordings alone, where some of the tested ones are clean and some are not."""
        windows = self.evaluation.windows
        clean = [index for index, verdict in self.verdicts.items() if verdict == "clean"]
        among = np.isin(windows.recording[self.evaluation.tested], clean)
        labels = windows.label[self.evaluation.tested][among]
        lacking = (
            not isinstance(self.evaluation, Targeted) and len(set(labels.tolist())) < self.evaluation.classes
        )
        if among.all() or not among.any() or lacking:
            return None
        rows = [self.evaluation.row(name, several, among) for name, several in predictions.items()]
        words = (
            f"{len(clean)} of {len(self.verdicts)} tested recordings are clean; these rows are theirs alone: "
            f"{self.evaluation.units_words(among)}."
        )
        chance = self.evaluation.chance(among).score
        return Aside("Clean recordings only", rows, self.evaluation.metric, chance, words)

    @property
    def notes(self) -> list[str]:
        """What a reader must know of the folds."""
        total = self.left_out + len(self.evaluation.folds)
        said = f"{self.left_out} of the card's {total} folds are left out: every checkpoint saw their recordings in pretraining"
        held = f"{{{self.evaluation.card.name}: [SUBJECT, ...]}}"
        advice = f"for a score on unseen recordings, pretrain with --set 'data.hold_out={held}'"
        overlapped = self.contamination.startswith("forbidden overlap")
        return [
            *([said] if self.left_out else []),
            *([advice] if self.contamination.startswith("seen") else []),
            *(
                [f"hold out of the pretraining what {self.evaluation.card.name} shares with it"]
                if overlapped
                else []
            ),
        ]

    def frozen(self, seed: int, protocol: Protocol, pool: Pool) -> Probabilities:
        """Out-of-fold predictions from the frozen features of this seed's models."""
        return self._predict(lambda number: self.chosen[seed, number], protocol, pool)

    def untrained(self, seed: int, protocol: Protocol, pool: Pool) -> Probabilities:
        """The same from their untrained twin: the same network with the first weights of `seed`."""
        source = seed if seed in self.models else next(iter(self.models))
        return self._predict(lambda number: twin(self.chosen[source, number], seed), protocol, pool)

    def shuffled(self, seed: int, protocol: Protocol, pool: Pool, draw: int = 0) -> Probabilities:
        """What `frozen` gives where the labels of the training windows are shuffled within each subject."""
        rng = np.random.default_rng([self.evaluation.seed, 5, draw])
        return self._predict(lambda number: self.chosen[seed, number], protocol, pool, rng)

    def _predict(
        self, model_of: Any, protocol: Protocol, pool: Pool, shuffle: np.random.Generator | None = None
    ) -> Probabilities:
        def predict(number: int, fold: Fold) -> Probabilities:
            features = features_for(protocol, model_of(number), self.evaluation, pool)
            labels = (
                self.evaluation.windows.label if shuffle is None else self.evaluation.shuffled(fold, shuffle)
            )
            return probe_fold(self.evaluation, features, fold, protocol, labels)

        return self.evaluation.out_of_fold(predict)


def seeds_of(models: Sequence[BrainFM]) -> dict[int, list[BrainFM]]:
    """The models by their recipe's seed. Raises `DataError` unless they are one recipe but for seed and held-out people."""
    by_seed: dict[int, list[BrainFM]] = {}
    first, held = None, set()
    for model in models:
        recipe = recipe_of(model)
        seed, hold_out = recipe.pop("seed"), str(recipe.get("data", {}).pop("hold_out", None))
        for key in WITHOUT_EFFECT["train"]:
            recipe.get("train", {}).pop(key, None)
        first = first or recipe
        if recipe != first:
            raise DataError("the checkpoints come from different recipes; probe them one at a time")
        if (seed, hold_out) in held:
            raise DataError(
                f"two checkpoints are the same run (seed {seed}, the same people held out); give one of them"
            )
        held.add((seed, hold_out))
        by_seed.setdefault(int(seed), []).append(model)
    return by_seed


def recipe_of(model: BrainFM) -> dict[str, Any]:
    """The recipe of the run that made a checkpoint, or what stands for one in a model of others."""
    return dict(model.recipe)


def clean_models(by_seed: dict[int, list[BrainFM]], evaluation: Evaluation) -> dict[tuple[int, int], BrainFM]:
    """(seed, fold) → a model that saw nothing of the fold's test side."""
    return {
        (seed, number): model
        for seed, several in by_seed.items()
        for model in reversed(several)
        for number in unseen_folds(model, evaluation)
    }


def unseen_folds(model: BrainFM, evaluation: Evaluation) -> list[int]:
    """The folds of whose test side this model was shown nothing, under whatever name, nor knows of it by a declared overlap."""
    overlaps = overlaps_with(evaluation.card, model.manifest.datasets)
    shared = {
        index
        for index, recording in enumerate(evaluation.recordings)
        if model.manifest.shared(recording, overlaps)
    }
    whole = {
        index
        for index, recording in enumerate(evaluation.recordings)
        if not model.manifest.verdict(recording, evaluation.modality).startswith("seen")
    }

    def seen(index: int, windows: Spans) -> bool:
        recording = evaluation.recordings[index]
        known = index in whole
        return not known and model.manifest.verdict(recording, evaluation.modality, windows).startswith(
            "seen"
        )

    return [
        number
        for number, fold in enumerate(evaluation.folds)
        if not any(
            index in shared or seen(index, windows) for index, windows in tested(evaluation, fold).items()
        )
    ]


def tested(evaluation: Evaluation, fold: Fold) -> dict[int, list[tuple[float, float]]]:
    """Which stretches, (start, stop) in seconds, of which recordings a fold tests."""
    table = evaluation.windows
    out: dict[int, list[tuple[float, float]]] = {}
    for row in fold.test.tolist():
        start = float(table.start[row])
        out.setdefault(int(table.recording[row]), []).append((start, start + table.seconds))
    return out


def contamination(
    evaluation: Evaluation, chosen: dict[tuple[int, int], BrainFM], unknown: bool, clean: bool
) -> tuple[str, bool]:
    """What pretraining saw of the test data, in words, and whether it saw any."""
    if unknown:
        return "unknown: a checkpoint carries no manifest of what it saw", True
    places = [
        (model, evaluation.recordings[index], windows)
        for (_, number), model in chosen.items()
        for index, windows in tested(evaluation, evaluation.folds[number]).items()
    ]
    verdicts = {model.manifest.verdict(one, evaluation.modality, windows) for model, one, windows in places}
    pairs = [(model, recording) for model, recording, _ in places]
    if not clean and not any(verdict.startswith("seen") for verdict in verdicts):
        return f"forbidden overlap: {in_common(evaluation, pairs)}", True
    if not clean:
        word = "with" if "seen with labels" in verdicts else "without"
        return f"seen {word} labels: test recordings were in the training corpus", True
    if "unknown" in verdicts:
        return "clean by content hash alone: the signal is too short or too slow for a fingerprint", False
    if any(model.manifest.verdict(one, evaluation.modality).startswith("seen") for model, one in pairs):
        return "clean stretches; other stretches of the same recordings were in the training corpus", False
    if any(model.manifest.saw_subject(recording) for model, recording in pairs):
        return "clean recordings; other recordings of the same subjects were in the training corpus", False
    return "clean: no test recording, and no test subject of this card, was in the training corpus", False


def in_common(evaluation: Evaluation, tested: Sequence[tuple[BrainFM, Recording]]) -> str:
    """What the training corpus shares with the test data by the cards' own word, each overlap once."""
    declared = {id(model): overlaps_with(evaluation.card, model.manifest.datasets) for model, _ in tested}
    every = [model.manifest.shared(recording, declared[id(model)]) for model, recording in tested]
    found = {one.model_dump_json(): one for one in every if one is not None}.values()
    return "; ".join(
        f"the training corpus holds {one.other}, whose {one.what} it shares ({one.why})" for one in found
    )


def twin(model: BrainFM, seed: int) -> BrainFM:
    """The same network untrained: same recipe, same preparation, first weights of `seed`."""
    return model.twin(seed)


def probe_fold(
    evaluation: Evaluation,
    features: NDArray[np.float32],
    fold: Fold,
    protocol: Protocol,
    labels: NDArray[np.int64] | None = None,
    tested: NDArray[np.float32] | None = None,
) -> Probabilities:
    """Fit the probe on the training rows, what it chooses chosen on groups inside them; predict the test rows.

    `labels` (window,) stand in for the true ones in training, and `tested`, features of all windows, for those that are tested.
    """
    if isinstance(evaluation, Targeted):
        return evaluation.probe(features, fold, labels)
    label = (evaluation.windows.label if labels is None else labels)[fold.train]
    fitted = classifier(protocol, label, evaluation.inner(fold), evaluation.seed)
    fitted.fit(features[fold.train], label)
    out = np.zeros((len(fold.test), evaluation.classes))
    out[:, fitted.classes_] = fitted.predict_proba((features if tested is None else tested)[fold.test])
    return out


def features_for(
    protocol: Protocol, model: BrainFM, evaluation: Evaluation, pool: Pool
) -> NDArray[np.float32]:
    """What a protocol wants of every window: pooled features, or for `attentive` the tokens themselves."""
    if protocol == "attentive" and not isinstance(evaluation, Targeted):
        return token_features(model, evaluation)
    return cached_features(model, evaluation, pool)


def default_pool(evaluation: Evaluation, model: BrainFM) -> Pool:
    """Each row of tokens apart where that means something: where on the head is most of what EEG says."""
    return "sensor" if same_rows(evaluation, model) else "mean"


def same_rows(evaluation: Evaluation, model: BrainFM) -> bool:
    """Whether, in every fold, rows of tokens stand for the same things in all windows."""
    rows = [model.rows(recording, evaluation.modality) for recording in evaluation.recordings]
    owner = evaluation.windows.recording
    return all(
        len(found := {rows[index] for index in np.unique(owner[np.concatenate([fold.train, fold.test])])})
        == 1
        and found != {()}
        for fold in evaluation.folds
    )


def cached_features(model: BrainFM, evaluation: Evaluation, pool: Pool) -> NDArray[np.float32]:
    """Features of every window, from the cache if these weights have met these recordings before.

    Of a model that can't say what its features depend on, as of any callable, none are kept beyond its own life.
    """
    own, where = model.digest(), windows_key(evaluation, pool)
    if not own:
        assert isinstance(model, Foreign)  # a checkpoint always can
        if (model.seed, where) not in model.remembered:
            model.remembered[model.seed, where] = made_features(model, evaluation, pool)
        return model.remembered[model.seed, where]
    path = cache_folder() / "features" / f"{hashlib.sha256((own + where).encode()).hexdigest()[:32]}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    values = made_features(model, evaluation, pool)

    def write(passing: Path) -> None:
        with passing.open("wb") as stream:
            np.save(stream, values)

    write_file(path, write)
    return values


def made_features(model: BrainFM, evaluation: Evaluation, pool: Pool) -> NDArray[np.float32]:
    """Features of every window. Raises `DataError` where the sensors of a fold can't be pooled so."""
    if pool not in ANY_SENSORS and not same_rows(evaluation, model):
        raise DataError(
            f"{evaluation.card.name}: sensors of a fold differ and can't be pooled by {pool}; use --pool mean"
        )
    prepared = model.prepare(evaluation.recordings, evaluation.modality)
    return model.features(prepared, evaluation.windows, evaluation.modality, pool, apart=True)


@torch.inference_mode()
def token_features(model: BrainFM, evaluation: Evaluation, batch: int = 64) -> NDArray[np.float32]:
    """(window, token, width) of every window, NaN where it has fewer tokens than the longest.

    Too large to be kept on disk. Raises `DataError` where they are too large for memory, too.
    """
    if not isinstance(model, BrainFM):
        raise DataError(
            "the attentive probe takes tokens, which only brainfm's own checkpoints give; use --protocol ridge"
        )
    model.eval()
    prepared = model.prepare(evaluation.recordings, evaluation.modality)
    stream = model.stream(prepared, evaluation.windows, evaluation.modality)
    size = 4 * len(evaluation.windows) * int(stream.tokens.max()) * model.width
    if size > LARGEST:
        raise DataError(
            f"{evaluation.card.name}: the tokens of its {len(evaluation.windows)} windows take {size / 2**30:.1f} GiB; "
            "use --limit, or a protocol of pooled features"
        )
    out = np.full((len(evaluation.windows), int(stream.tokens.max()), model.width), np.nan, np.float32)
    for rows in stream.layouts:
        for part in np.array_split(rows, -(-len(rows) // batch)):
            tokens = model(stream.batch(part).to(model.device))
            values = tokens.embedding.float().masked_fill(~tokens.valid.unsqueeze(-1), torch.nan)
            out[part, : tokens.count] = values.cpu().numpy()
    return out


def windows_key(evaluation: Evaluation, pool: Pool) -> str:
    """What features depend on beside the model: recordings, windows, pooling, and the code that makes them."""
    digest = hashlib.sha256()
    for recording in evaluation.recordings:
        signal = recording.signal(evaluation.modality)
        digest.update(
            recording.content_hash.encode() + signal.sensors.position.tobytes() + str(signal.breaks).encode()
        )
        digest.update(f"{signal.sensors.region} {owner(recording, evaluation.modality)}".encode())
        digest.update(f"{signal.sensors.name} {signal.sfreq} {signal.n_times}".encode())
        digest.update(
            f"{signal.sensors.kind} {signal.sensors.unit}".encode() + signal.sensors.orientation.tobytes()
        )
        for name, track in sorted(recording.tracks.items()):  # a step may regress one out
            digest.update(f"{name} {track.names} {track.rate} {track.start} {track.data.shape}".encode())
            digest.update(np.ascontiguousarray(track.data).tobytes())
    digest.update(evaluation.windows.recording.tobytes() + evaluation.windows.start.tobytes())
    versions = [importlib.metadata.version(name) for name in ("torch", "mne", "scipy", "numpy")]
    digest.update(f"{evaluation.windows.seconds} {pool} {VERSION} {versions}".encode())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where features are kept: BRAINFM_CACHE, else the user's cache."""
    return Path(os.environ.get("BRAINFM_CACHE", Path.home() / ".cache" / "brainfm"))
