"""Probe: an honest number for frozen features, beside chance, the untrained twin and the classical decoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from brainfm.baselines import Baseline
from brainfm.data.cards import DataCard
from brainfm.data.leaks import Split
from brainfm.data.selection import FIELDS
from brainfm.embedder import Embedder
from brainfm.errors import DataError
from brainfm.evaluation import Evaluation
from brainfm.few_shot import Predict, learning_curve
from brainfm.metrics import Probabilities
from brainfm.opening import name_of, opened, said
from brainfm.panel import Panel
from brainfm.pooling import Pool
from brainfm.probes import Protocol
from brainfm.progress import bar
from brainfm.scores import OURS, Difference, Scores
from brainfm.sessions import by_session
from brainfm.significance import holm, paired_test
from brainfm.targeted import Targeted
from brainfm.tasks import asked_otherwise, laid_out, named_task, pool_of, protocol_of
from brainfm.worth import STAGES, worth


@dataclass(frozen=True)
class Options:
    """How to probe. `pool` None: each sensor apart where all windows share their sensors, else the mean."""

    protocol: Protocol = "ridge"
    pool: Pool | None = None
    split: Split | None = None
    metric: str | None = None
    seeds: int = 3
    """Untrained twins, where one checkpoint is given; shuffles of labels; subsets of a learning curve."""
    seed: int | None = None
    """None: the task's, or 0 for a card."""
    limit: int | None = None
    strict: bool = False
    classical: Literal["all", "card", "none"] = "all"
    """The standard decoders and the card's own, the card's own alone, or none."""
    quiet: bool = False
    train_on: Sequence[str | Path] = ()
    """Cards to train on instead of the tested one: CrossDataset."""
    windows_per_class: Sequence[int] = ()
    """A learning curve at these numbers of labelled windows."""
    worth: bool = False
    """Also who the features know, what nuisances reach alone, and what worse recordings cost."""


def probe(checkpoints: Sequence[Any], card: str | Path, options: Options | None = None) -> Scores:
    """Score frozen features of one checkpoint, or of several seeds of it, on a card's task or on that of a recipe of `finetune/`.

    A checkpoint is what `brainfm.load` takes, `braindecode:Labram` or another model by an adapter's name, or in Python a model:
    `brainfm.foreign(...)`, or an estimator of scikit-learn, which is fitted on the training windows of each fold. Each held-out
    subject is scored by a checkpoint that never saw it, where there is one. Raises `DataError` where the task can't be laid out,
    and with `strict` where every checkpoint saw the test data.
    """
    options = options or Options()
    models, estimators = opened(checkpoints)
    if recipe := named_task(card):
        if options.train_on:
            raise DataError(
                f"--train-on takes a card to test on, and {card} is a task; name its card, {recipe.card}"
            )
        task = asked_otherwise(recipe, options.split, options.seed)
        evaluation = laid_out(task, models[0] if models else None, options.metric, options.limit)
    else:
        evaluation = Evaluation.of(
            DataCard.load(card),
            options.split,
            metric=options.metric,
            limit=options.limit,
            seed=options.seed or 0,
            train_on=[DataCard.load(one) for one in options.train_on],
        )
    if isinstance(evaluation, Targeted) and (options.windows_per_class or options.worth):
        raise DataError(
            f"{card} tells numbers, not one label of a window; --windows-per-class and --worth are for labels"
        )
    protocol_of(evaluation, options.protocol)
    panel = Panel.of(models, evaluation, options.strict)
    pool = pool_of(panel.evaluation, models[0], options.pool) if models else options.pool or "mean"
    seeds = list(panel.models)
    twins = seeds if len(seeds) != 1 else [seeds[0] + extra for extra in range(options.seeds)]
    twins = twins if all(model.has_twin for model in models) else []
    baselines, notes = classical(panel.evaluation, options.classical)
    notes = [*notes, *said(models, panel.evaluation)]
    draws = options.seeds if seeds else 0
    tables = len(seeds) + len(twins) + draws + len(baselines)
    few = few_rows(seeds, twins, options.protocol, pool, baselines) if options.windows_per_class else {}
    more = len(few) * len(options.windows_per_class) + (STAGES if options.worth else 0)
    with bar("probing", tables + more, quiet=options.quiet) as tick:
        predictions: dict[str, list[Probabilities]] = {"shuffled": [], "untrained": [], "frozen": []}
        for seed in twins:
            predictions["untrained"].append(panel.untrained(seed, options.protocol, pool))
            tick(f"untrained, seed {seed}")
        for seed in seeds:
            predictions["frozen"].append(panel.frozen(seed, options.protocol, pool))
            tick(f"frozen, seed {seed}")
        for draw in range(draws):
            seed = seeds[draw % len(seeds)]
            predictions["shuffled"].append(panel.shuffled(seed, options.protocol, pool, draw))
            tick(f"labels shuffled, draw {draw}")
        for name, part in baselines:
            predictions[f"classical:{name}"] = [panel.evaluation.baseline(part)]
            tick(name)
        for name, one in estimators.items():
            predictions[f"estimator:{name}"] = [panel.evaluation.baseline(one)]
        curve, left = learning_curve(panel, options.windows_per_class, few, options.seeds, tick)
        beside = worth(panel, options.protocol, pool, tick, baselines[-1:]) if options.worth else {}
    predictions = {name: several for name, several in predictions.items() if several}
    names = [name_of(one) for one in checkpoints]
    found = scores(panel, predictions, options, pool, names, [*notes, *left])
    return replace(found, curve=curve, asides={**found.asides, **beside})


def few_rows(
    seeds: Sequence[int],
    twins: Sequence[int],
    protocol: Protocol,
    pool: Pool,
    baselines: Sequence[tuple[str, Baseline]],
) -> dict[str, Predict]:
    """The rows of a learning curve: one network of each kind, and the last classical decoder, the card's own if it has one."""
    rows: dict[str, Predict] = {}
    if twins:
        rows["untrained"] = lambda panel: panel.untrained(twins[0], protocol, pool)
    if seeds:
        rows["frozen"] = lambda panel: panel.frozen(seeds[0], protocol, pool)
    for name, part in baselines[-1:]:
        rows[f"classical:{name}"] = lambda panel, part=part: panel.evaluation.baseline(part)  # type: ignore[misc]
    return rows


def scores(
    panel: Panel,
    predictions: Mapping[str, list[Probabilities]],
    options: Options,
    pool: Pool,
    checkpoints: Sequence[str],
    notes: Sequence[str] = (),
) -> Scores:
    """The table: a row for each name, and ours minus the network that was not pretrained."""
    evaluation = panel.evaluation
    rows = [evaluation.chance(), *(evaluation.row(name, several) for name, several in predictions.items())]
    clean = panel.clean_only(predictions)
    per_group = evaluation.per_group(predictions)
    first = next((several[0] for several in panel.models.values()), None)
    pooled = (
        ["AUROC is pooled over folds, whose classifiers are not calibrated"]
        if evaluation.metric == "auroc"
        else []
    )
    return Scores(
        card=evaluation.card.name,
        split=evaluation.words,
        held_out=[fold.held_out for fold in evaluation.folds],
        metric=evaluation.metric,
        chance=rows[0].score,
        rows=rows,
        differences=differences(evaluation, predictions, per_group),
        unit=evaluation.unit,
        contamination=panel.contamination,
        contaminated=panel.contaminated,
        exposure=panel.exposure,
        per_group=per_group,
        protocol=protocol_of(evaluation, options.protocol),
        pool=pool,
        checkpoints=checkpoints,
        recipe=first.recipe_text if first else "",
        recipe_hash=first.recipe_hash if first else "",
        seed=evaluation.seed,
        notes=[*panel.notes, *pooled, *notes],
        sessions=by_session(evaluation, predictions),
        asides={} if clean is None else {"clean_only": clean},
    )


def differences(
    evaluation: Evaluation,
    predictions: Mapping[str, list[Probabilities]],
    per_group: Mapping[str, Mapping[str, float]],
) -> list[Difference]:
    """Ours minus what they must beat, each with its interval and its test over subjects, corrected for their number."""
    made = []
    for of, minus in pairs(list(predictions)):
        one = evaluation.difference(of, predictions[of], minus, predictions[minus])
        ours, theirs = ([row[name] for row in per_group.values()] for name in (of, minus))
        tested = paired_test(ours, theirs, np.random.default_rng([evaluation.seed, 9]))
        made.append(replace(one, p=tested.p, effect=tested.effect, units=tested.n))
    corrected = holm([one.p for one in made])
    return [replace(one, p_holm=p) for one, p in zip(made, corrected, strict=True)]


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared with what: each of ours with its network that was not pretrained, with frozen features, shuffled labels
    and every classical decoder."""
    classical_ = [name for name in names if name.startswith("classical:")]
    against = {
        "frozen": ["untrained", "shuffled", *classical_],
        "lora": ["scratch", "frozen", *classical_],
        "finetuned": ["scratch", "frozen", *classical_],
    }
    return [(of, minus) for of in OURS if of in names for minus in against[of] if minus in names]


def classical(
    evaluation: Evaluation, which: Literal["all", "card", "none"] = "all"
) -> tuple[list[tuple[str, Any]], list[str]]:
    """The standard decoders that the sensors allow, and the card's own: what its paradigm is usually scored with.

    With them, why any is left out.
    """
    if which == "none":
        return [], []
    if isinstance(evaluation, Targeted):
        return list(evaluation.regressors), []
    from brainfm.baselines.band_power import BandPower
    from brainfm.baselines.csp_lda import CspLda
    from brainfm.baselines.tangent_space import TangentSpace

    if not evaluation.comparable:
        return [], ["classical decoders are left out: they need the same sensors and rate in every recording"]
    sensors = len(evaluation.recordings[0].signal(evaluation.modality).sensors)
    standard: list[Baseline] = []
    if evaluation.modality in FIELDS and which == "all":  # blood and spikes have no rhythms in these bands
        standard = [BandPower(), *([TangentSpace(), CspLda()] if sensors > 1 else [])]
    own = evaluation.card.baseline
    parts = {part.kind: part for part in standard}
    if own is not None:
        parts[own.kind if own.kind not in parts or parts[own.kind] == own else f"{own.kind}_card"] = own
    unlabelled = (
        ["the card's baseline recentres each test domain without its labels"]
        if "recentre='domain'" in repr(own)
        else []
    )
    return list(parts.items()), unlabelled


probe.Embedder = Embedder  # type: ignore[attr-defined] # `brainfm.probe.Embedder`, beside the probe that it is for
