"""Are planted connections found, and their direction? By what a network of events says and attends to, and by measures of pairs.

Every circuit is a simulated person's own: twelve neurons, of which a sixth of the pairs are joined, one way; a tenth to three
tenths of the source's spikes bring about one of the target 4 ms later. What rates have in common (rhythms, a cursor) is there as
well. One network is trained on all circuits. Each pair of neurons counts twice, once each way, in the area under the ROC curve.
"""

import numpy as np
from asked import Asked
from claims import Claim
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from brainfm.data.cards import DataCard
from brainfm.data.recording import Recording
from brainfm.event_model import EventModel
from brainfm.gather import cut
from brainfm.jobs.pretrain import pretrain
from brainfm.recipe import PretrainRecipe
from brainfm.spike_glm import SpikeGLM
from brainfm.spike_pairs import cross_correlogram, lagged_partial_correlation
from brainfm.wiring import connectivity

Array = NDArray[np.float64]
CIRCUITS = 8
NEURONS = 12
SECONDS = 120.0
RATE = 1000.0
DRAWS = 2000
LOOKED_AT = 80
"""Windows of each circuit that the network is asked about."""
CARD = """---
title: Simulated circuits
modality: spikes
licence: none needed, made by brainfm
citation: brainfm, brainfm/data/modalities/spikes.py
source: brainfm
folder: ""
files: ""
reader: {{kind: simulated, modality: spikes, subjects: {circuits}, sensors: {neurons}, seconds: {seconds}}}
---
Twelve neurons of each of some simulated people.
"""
NAMES = {
    "effect": "what the network says after a spike",
    "attention": "attention",
    "correlogram": "cross-correlogram",
    "partial": "lagged partial correlation",
    "regression": "coupling of a Poisson regression",
}


def circuits(asked: Asked) -> list[Claim]:
    """What is said of them."""
    many = CIRCUITS if asked.limit is None else max(2, min(asked.limit, CIRCUITS))
    card = asked.out / "circuits.md"
    card.parent.mkdir(parents=True, exist_ok=True)
    card.write_text(CARD.format(circuits=many, neurons=NEURONS, seconds=SECONDS), encoding="utf-8")
    given = [f"data={{cards: ['{card}']}}"]
    whole = PretrainRecipe.load("neuroformer_circuits", given)
    steps = f"train.steps={asked.steps(whole.train.steps)}"
    pretrain(PretrainRecipe.load("neuroformer_circuits", [*given, steps]), asked.out / "circuits", quiet=True)
    model = EventModel.load(asked.out / "circuits")
    areas: dict[str, list[float]] = {name: [] for name in NAMES}
    for recording in DataCard.load(card).recordings():
        true = recording.tracks["synapses"].data.T > 0  # its rows are the sources
        for name, said in told(model, recording).items():
            apart = ~np.eye(NEURONS, dtype=bool)
            areas[name].append(float(roc_auc_score(true[apart], said[apart])))
    on = f"{many} simulated circuits of {NEURONS} neurons, {SECONDS:.0f} s each"
    half = [0.5] * many
    return [
        claim("planted connections and their direction are found by the network's effect", on, areas, "effect", half),
        claim("attention finds them", on, areas, "attention", half),
        claim("the effect finds them better than attention", on, areas, "effect", areas["attention"]),
        claim("the effect finds them better than a cross-correlogram", on, areas, "effect", areas["correlogram"]),
        claim("the effect finds them better than a lagged partial correlation", on, areas, "effect", areas["partial"]),
        claim("the effect finds them better than a Poisson regression's coupling", on, areas, "effect", areas["regression"]),
    ]  # fmt: skip


def told(model: EventModel, recording: Recording) -> dict[str, Array]:
    """(neuron, neuron) by every way, of the column's neuron on the row's."""
    settings = model.model.signals["spikes"]
    stream = cut(model.model.prepare([recording], "spikes"), settings, "spikes")
    rows = np.random.default_rng(0).permutation(len(stream.windows))
    counts = recording.signal("spikes").load()
    every = np.arange(counts.shape[1])
    return {
        "effect": connectivity(model, stream, np.sort(rows[:LOOKED_AT])),
        "attention": connectivity(model, stream, np.arange(len(rows)), of="attention"),
        "correlogram": cross_correlogram(counts, RATE),
        "partial": lagged_partial_correlation(counts, RATE),
        "regression": SpikeGLM(RATE, longest=0.1, filters=6).fit(counts, every).coupling(),
    }


def claim(says: str, on: str, areas: dict[str, list[float]], ours: str, other: list[float]) -> Claim:
    """By how much the area is larger, over circuits."""
    gap = np.array(areas[ours]) - other
    drawn = np.random.default_rng(0).integers(len(gap), size=(DRAWS, len(gap)))
    low, high = np.percentile(gap[drawn].mean(axis=1), [2.5, 97.5])
    figure = f"AUROC {np.mean(areas[ours]):.3f} beside {np.mean(other):.3f}"
    return Claim(says, on, figure, (float(gap.mean()), float(low), float(high)))
