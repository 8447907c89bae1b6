"""Probe: an honest number for frozen features, beside chance, the untrained twin and the classical decoders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from brainfm.baselines import Baseline
from brainfm.data.cards import DataCard
from brainfm.data.cards import Metric as MetricName
from brainfm.data.leaks import Split
from brainfm.data.selection import FIELDS
from brainfm.embedder import Embedder
from brainfm.evaluation import Evaluation
from brainfm.metrics import Probabilities
from brainfm.opening import name_of, opened, said
from brainfm.panel import Panel
from brainfm.pooling import Pool
from brainfm.probes import Protocol
from brainfm.progress import bar
from brainfm.scores import Scores
from brainfm.sessions import by_session
from brainfm.targeted import Targeted
from brainfm.tasks import laid_out, named_task, pool_of


@dataclass(frozen=True)
class Options:
    """How to probe. `pool` None: each sensor apart where all windows share their sensors, else the mean."""

    protocol: Protocol = "ridge"
    pool: Pool | None = None
    split: Split | None = None
    metric: MetricName | None = None
    seeds: int = 3
    """Untrained twins, where one checkpoint is given."""
    seed: int = 0
    limit: int | None = None
    strict: bool = False
    classical: Literal["all", "card", "none"] = "all"
    """The standard decoders and the card's own, the card's own alone, or none."""
    quiet: bool = False


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
        evaluation = laid_out(recipe, models[0] if models else None, options.metric, options.limit)
    else:
        evaluation = Evaluation.of(
            DataCard.load(card), options.split, metric=options.metric, limit=options.limit, seed=options.seed
        )
    panel = Panel.of(models, evaluation, options.strict)
    pool = options.pool or (pool_of(panel.evaluation, models[0]) if models else "mean")
    seeds = list(panel.models)
    twins = seeds if len(seeds) != 1 else [seeds[0] + extra for extra in range(options.seeds)]
    twins = twins if all(model.has_twin for model in models) else []
    baselines, notes = classical(panel.evaluation, options.classical)
    notes = [*notes, *said(models, panel.evaluation)]
    with bar("probing", len(seeds) + len(twins) + len(baselines), quiet=options.quiet) as tick:
        predictions: dict[str, list[Probabilities]] = {"untrained": [], "frozen": []}
        for seed in twins:
            predictions["untrained"].append(panel.untrained(seed, options.protocol, pool))
            tick(f"untrained, seed {seed}")
        for seed in seeds:
            predictions["frozen"].append(panel.frozen(seed, options.protocol, pool))
            tick(f"frozen, seed {seed}")
        for name, part in baselines:
            predictions[f"classical:{name}"] = [panel.evaluation.baseline(part)]
            tick(name)
        for name, one in estimators.items():
            predictions[f"estimator:{name}"] = [panel.evaluation.baseline(one)]
    predictions = {name: several for name, several in predictions.items() if several}
    return scores(panel, predictions, options, pool, [name_of(one) for one in checkpoints], notes)


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
    pairs = [("frozen", "untrained"), ("finetuned", "scratch"), ("finetuned", "frozen")]
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
        differences=[
            evaluation.difference(of, predictions[of], minus, predictions[minus])
            for of, minus in pairs
            if of in predictions and minus in predictions
        ],
        unit=evaluation.unit,
        contamination=panel.contamination,
        contaminated=panel.contaminated,
        per_group=evaluation.per_group(predictions),
        protocol=options.protocol,
        pool=pool,
        checkpoints=checkpoints,
        recipe=first.recipe_text if first else "",
        recipe_hash=first.recipe_hash if first else "",
        seed=options.seed,
        notes=[*panel.notes, *pooled, *notes],
        sessions=by_session(evaluation, predictions),
    )


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
