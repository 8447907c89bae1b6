"""Probe: an honest number for frozen features, beside chance, the untrained twin and the classical decoders."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from brainfm.baselines import Baseline
from brainfm.data.cards import DataCard
from brainfm.data.cards import Metric as MetricName
from brainfm.data.leaks import Fold, Split
from brainfm.errors import CheckpointError, DataError
from brainfm.evaluation import Evaluation
from brainfm.files import write_file
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM, BrainFMConfig
from brainfm.pooling import Pool
from brainfm.probes import Protocol, linear
from brainfm.progress import bar
from brainfm.recipe import parse_yaml
from brainfm.scores import Scores


@dataclass(frozen=True)
class Options:
    """How to probe. `pool` None: each sensor apart where all windows share their sensors, else the mean."""

    protocol: Protocol = "ridge"
    pool: Pool | None = None
    split: Split | None = None
    metric: MetricName | None = None
    seeds: int = 3
    seed: int = 0
    limit: int | None = None
    strict: bool = False
    classical: Literal["all", "none"] = "all"
    quiet: bool = False


def probe(checkpoints: Sequence[str | Path], card: str | Path, options: Options | None = None) -> Scores:
    """Score frozen features of one checkpoint, or of several seeds of it, on a card's task.

    Each held-out subject is scored by a checkpoint that never saw it, where there is one. Raises `DataError` where the task
    can't be laid out, and with `strict` where every checkpoint saw the test data.
    """
    options = options or Options()
    models = [BrainFM.from_pretrained(checkpoint) for checkpoint in checkpoints]
    evaluation = Evaluation.of(
        DataCard.load(card), options.split, metric=options.metric, limit=options.limit, seed=options.seed
    )
    panel = Panel.of(models, evaluation, options)
    evaluation = panel.evaluation
    baselines = classical(evaluation) if options.classical == "all" else []
    with bar("probing", 2 * len(panel.seeds) + len(baselines), quiet=options.quiet) as tick:
        predictions: dict[str, list[Probabilities]] = {"untrained": [], "frozen": []}
        for seed in panel.seeds:
            predictions["untrained"].append(panel.predict(seed, untrained=True))
            tick(f"untrained, seed {seed}")
            predictions["frozen"].append(panel.predict(seed, untrained=False))
            tick(f"frozen, seed {seed}")
        for name, part in baselines:
            predictions[f"classical:{name}"] = [evaluation.baseline(part)]
            tick(name)
    return scores(evaluation, predictions, panel.contamination, panel.contaminated)


def scores(
    evaluation: Evaluation,
    predictions: dict[str, list[Probabilities]],
    contamination: str,
    contaminated: bool,
) -> Scores:
    """The table: a row for each name, and ours minus the network that was not pretrained."""
    rows = [evaluation.chance(), *(evaluation.row(name, several) for name, several in predictions.items())]
    pairs = [("frozen", "untrained"), ("finetuned", "scratch"), ("finetuned", "frozen")]
    return Scores(
        card=evaluation.card.name,
        split=evaluation.words,
        held_out=[fold.held_out for fold in evaluation.folds],
        metric=evaluation.metric,
        chance=rows[0].score,
        rows=rows,
        differences=[
            evaluation.difference(of, predictions[of], minus, predictions[minus])
            for of, minus in pairs
            if of in predictions and minus in predictions and len(predictions[of]) == len(predictions[minus])
        ],
        unit=evaluation.unit,
        contamination=contamination,
        contaminated=contaminated,
        per_group=evaluation.per_group(predictions),
    )


def classical(evaluation: Evaluation) -> list[tuple[str, Baseline]]:
    """The standard decoders that the sensors allow, and the card's own: what its paradigm is usually scored with."""
    from brainfm.baselines.band_power import BandPower
    from brainfm.baselines.csp_lda import CspLda
    from brainfm.baselines.tangent_space import TangentSpace

    sensors = len(evaluation.recordings[0].signal(evaluation.modality).sensors)
    several: list[Baseline] = [TangentSpace(), CspLda()] if sensors > 1 else []
    own = evaluation.card.baseline
    parts = {part.kind: part for part in [BandPower(), *several]}
    if own is not None:
        parts[own.kind if own.kind not in parts or parts[own.kind] == own else f"{own.kind}_card"] = own
    return list(parts.items())


@dataclass
class Panel:
    """The models of each seed and, for each fold, the one that may judge it."""

    models: dict[int, list[BrainFM]]
    chosen: dict[tuple[int, int], BrainFM]
    seeds: list[int]
    evaluation: Evaluation
    options: Options
    contamination: str
    contaminated: bool

    @classmethod
    def of(cls, models: Sequence[BrainFM], evaluation: Evaluation, options: Options) -> "Panel":
        """Choose, for every seed and fold, a model that saw nothing of the test side, where there is one.

        Folds that only some models may judge are left out if others remain: pretraining held those subjects out to be tested.
        """
        by_seed: dict[int, list[BrainFM]] = {}
        for model in models:
            by_seed.setdefault(recipe_seed(model), []).append(model)
        seen = {id(model): seen_recordings(model, evaluation) for model in models}
        clean = {
            (seed, number): model
            for seed, several in by_seed.items()
            for number, fold in enumerate(evaluation.folds)
            for model in reversed(several)
            if not seen[id(model)] & set(evaluation.windows.recording[fold.test].tolist())
        }
        judged = [
            number
            for number in range(len(evaluation.folds))
            if all((seed, number) in clean for seed in by_seed)
        ]
        unknown = any(not model.manifest.entries for model in models)
        if options.strict and (unknown or not judged):
            why = (
                "a checkpoint does not say what it saw"
                if unknown
                else "every test recording was seen in pretraining"
            )
            raise DataError(f"{evaluation.card.name}: {why}; --strict refuses to score it")
        numbers = judged or list(range(len(evaluation.folds)))
        kept = replace(evaluation, folds=[evaluation.folds[number] for number in numbers])
        chosen = {
            (seed, new): clean.get((seed, old), several[0])
            for seed, several in by_seed.items()
            for new, old in enumerate(numbers)
        }
        words, bad = contamination(kept, chosen, unknown, bool(judged))
        seeds = (
            list(by_seed)
            if len(by_seed) > 1
            else [next(iter(by_seed)) + extra for extra in range(options.seeds)]
        )
        return cls(by_seed, chosen, seeds, kept, options, words, bad)

    def predict(self, seed: int, untrained: bool) -> Probabilities:
        """Out-of-fold predictions of this seed's models, or of their untrained twins.

        With one checkpoint there is one pretrained network and `seeds` twins: every twin is paired with it.
        """
        source = seed if seed in self.models else next(iter(self.models))

        def predict(number: int, fold: Fold) -> Probabilities:
            model = self.chosen[source, number]
            features = self.features(twin(model, seed) if untrained else model)
            return probe_fold(self.evaluation, features, fold, self.options.protocol)

        return self.evaluation.out_of_fold(predict)

    def features(self, model: BrainFM) -> NDArray[np.float32]:
        """Features of every window, from the cache if these weights have met these recordings before."""
        evaluation = self.evaluation
        pool = self.options.pool or default_pool(evaluation)
        path = cache_folder() / "features" / f"{feature_key(model, evaluation, pool)}.npy"
        if path.exists():
            return np.load(path, allow_pickle=False)
        prepared = model.prepare(evaluation.recordings, evaluation.modality)
        values = model.features(prepared, evaluation.windows, evaluation.modality, pool)

        def write(passing: Path) -> None:
            with passing.open("wb") as stream:
                np.save(stream, values)

        write_file(path, write)
        return values


def probe_fold(
    evaluation: Evaluation, features: NDArray[np.float32], fold: Fold, protocol: Protocol
) -> Probabilities:
    """Fit the linear probe on the training rows, its regularisation chosen on groups inside them; predict the test rows."""
    label = evaluation.windows.label[fold.train]
    classifier = linear(protocol, label, evaluation.inner(fold))
    classifier.fit(features[fold.train], label)
    out = np.zeros((len(fold.test), evaluation.classes))
    out[:, classifier.classes_] = classifier.predict_proba(features[fold.test])
    return out


def default_pool(evaluation: Evaluation) -> Pool:
    """Each sensor apart where all recordings share their sensors: where on the head is most of what EEG says."""
    names = {recording.signal(evaluation.modality).sensors.name for recording in evaluation.recordings}
    return "sensor" if len(names) == 1 else "mean"


def twin(model: BrainFM, seed: int) -> BrainFM:
    """The same network untrained: same recipe, same preparation, first weights of `seed`."""
    return BrainFM.fresh(model.config, seed).eval()


def recipe_seed(model: BrainFM) -> int:
    """The seed of the run that made a checkpoint."""
    if not isinstance(model.config, BrainFMConfig) or not model.config.recipe:
        raise CheckpointError("this checkpoint does not say which recipe made it; save it with brainfm")
    return int(parse_yaml(model.config.recipe, "the checkpoint's recipe")["seed"])


def seen_recordings(model: BrainFM, evaluation: Evaluation) -> set[int]:
    """Indices of the recordings that this model was trained on, under whatever name."""
    verdicts = [model.manifest.verdict(recording, evaluation.modality) for recording in evaluation.recordings]
    return {index for index, verdict in enumerate(verdicts) if verdict.startswith("seen")}


def contamination(
    evaluation: Evaluation, chosen: dict[tuple[int, int], BrainFM], unknown: bool, clean: bool
) -> tuple[str, bool]:
    """What pretraining saw of the test data, in words, and whether it saw any."""
    if unknown:
        return "unknown: a checkpoint carries no manifest of what it saw", True
    tested = [
        (model, evaluation.recordings[index])
        for (_, number), model in chosen.items()
        for index in np.unique(evaluation.windows.recording[evaluation.folds[number].test])
    ]
    if not clean:
        verdicts = {model.manifest.verdict(recording, evaluation.modality) for model, recording in tested}
        word = "with" if "seen with labels" in verdicts else "without"
        return f"seen {word} labels: test recordings were in the training corpus", True
    if any(model.manifest.saw_subject(recording) for model, recording in tested):
        return (
            "clean recordings; other recordings of the same subjects were in the pretraining corpus, without labels",
            False,
        )
    return "clean: no test recording, and no test subject, was in the pretraining corpus", False


def feature_key(model: BrainFM, evaluation: Evaluation, pool: Pool) -> str:
    """What the features depend on: weights, preparation, recordings, windows, pooling."""
    digest = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
    digest.update("".join(recording.content_hash for recording in evaluation.recordings).encode())
    digest.update(evaluation.windows.recording.tobytes() + evaluation.windows.start.tobytes())
    digest.update(f"{evaluation.windows.seconds} {pool}".encode())
    return digest.hexdigest()[:32]


def cache_folder() -> Path:
    """Where features are kept: BRAINFM_CACHE, else the user's cache."""
    return Path(os.environ.get("BRAINFM_CACHE", Path.home() / ".cache" / "brainfm"))
