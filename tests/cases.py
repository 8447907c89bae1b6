"""What the conformance suite runs over: every part that is found, in every way that it is tried, on simulated people.

Where a new part has settings without a default, or settings worth trying, name them in `TRY`.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.brain import Brain
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording
from brainfm.encoders import Encoder
from brainfm.gather import stream
from brainfm.masks import Mask
from brainfm.moments import Moment
from brainfm.objectives import Objective
from brainfm.part import Part, find, known
from brainfm.places import Place
from brainfm.recipe import PretrainRecipe, SignalRecipe
from brainfm.statistics import known_blocks
from brainfm.tokenizers import Tokenizer
from tests.codecs import codec_of, saved


@dataclass(frozen=True)
class Instrument:
    """How a modality is tried: how it is simulated and prepared, and what its windows and tokens are."""

    simulate: dict[str, Any]
    sfreq: float
    window: float
    token: float
    scaled: bool = True

    def signal(self, tokenizer: dict[str, Any]) -> dict[str, Any]:
        """The section of a recipe."""
        scale = {"kind": "robust_scale", "scope": "recording", "clip": 15.0}
        settings = {"seconds": self.token, "sfreq": self.sfreq, **tokenizer}
        return {"prepare": [scale] * self.scaled, "seconds": self.window, "tokenizer": settings}


FIELD = {"sfreq": 128.0, "window": 2.0, "token": 0.25}
INSTRUMENTS = {
    "eeg": Instrument({"seconds": 20.0, "sensors": 8}, **FIELD),
    "meg": Instrument({"seconds": 20.0, "sensors": 12}, **FIELD),
    "seeg": Instrument({"seconds": 20.0, "sensors": 16, "sfreq": 128.0}, **FIELD),
    "fmri": Instrument({"seconds": 200.0, "sensors": 30}, sfreq=0.5, window=20.0, token=4.0),
    "spikes": Instrument({"seconds": 20.0, "sensors": 12, "sfreq": 100.0}, 100.0, 2.0, 0.25, scaled=False),
    "behaviour": Instrument({"seconds": 20.0}, sfreq=50.0, window=2.0, token=0.2),
}
MINIMAL: dict[type[Part], dict[str, Any]] = {Encoder: {"depth": 2, "width": 32, "heads": 2}}
"""What every part of a family needs."""
NONE = "none"
"""The kind of place or moment that says nothing, which fails where both must matter (tests/test_places.py)."""
PLACES_AND_MOMENTS: list[dict[str, Any]] = [
    {slot: {"kind": kind, **({"count": 32, "seconds": 0.1} if kind == "table" else {})}}
    for slot, family in (("where", Place), ("when", Moment))
    for kind in known(family)
    if kind not in (NONE, "fourier", "rotary")
]
TRY: dict[str, list[dict[str, Any]]] = {
    "patch": [{}, {"embed": "convolution"}, {"embed": "dilated"}],
    "sources": [{"sources": 6, "heads": 2, "hidden": 32}],
    "spatial_attention": [{"channels": 12, "waves": 4}, {"channels": 12, "waves": 4, "dropout": 0.0}],
    "regions": [
        {"scale": scale, "merge": merge} for scale in ("channel", "parcel", "lobe") for merge in (True, False)
    ],
    "subject_linear": [
        {},
        {"channels": 4, "embed": "convolution"},
        {"channels": 4, "tells": True, "start": 1.0},
    ],
    "named_patch": [{}, {"told": "level"}],
    "voxel_clusters": [{"clusters": 6, "hidden": 16}],
    "surface_patch": [{"grid": [8, 8], "patch": 4}],
    "spike_counts": [{}, {"scale": "counts"}],
    "region": [{"scale": scale} for scale in ("channel", "parcel")],
    "transformer": [{}, {"gated": True, "head_size": 12, "widen": 1.5}, *PLACES_AND_MOMENTS],
    "axial": [{}, {"halves": True}],
    "bottleneck": [
        {},
        {"latents": 4, "fold": 2},
        {"latents": 4, "across": True},
        {"latents": 4, "head_size": 8, "gated": True},
    ],
    "recurrent": [{"latents": 2}],
    "masked_patches": [
        {"decoder_depth": 1},
        {"decoder_depth": 2},
        {"raw": 0.0, "amplitude": 1.0, "phase": 0.5},
        {"decoder_depth": 1, "error": "absolute", "normalised": False, "summary": 0.1},
    ],
    "latent_prediction": [
        {"decoder_depth": 1},
        {"decoder_depth": 1, "teacher": "none", "directions": 16},
        {"decoder_depth": 1, "of": "tokens", "error": "squared"},
    ],
    "masked_codes": [
        {"decoder_depth": 1},
        {"decoder_depth": 1, "symmetric": True},
        {"in_place": True, "random": 0.2},
    ],
    "modality": [{"otherwise": {"kind": "independent"}}],
    "complement": [{"of": {"kind": "block", "share": 0.45}}],
    "neurodynamics": [{}, {"of": known_blocks()}],
    "linear": [{"pool": pool} for pool in ("mean", "place", "sensor", "time", "all", "moments")],
    "attentive": [{}, {"queries": 3}],
    "at_time": [{"seconds": 1.5}],
    "by_region": [{"regions": [""]}],
    "course": [{"features": 3, "hidden": 24}],
    "sequence": [{"rows": rows} for rows in ("mean", "apart")],
}
"""Settings of single parts; a kind that is not here is tried with its defaults."""
SAYS_SOMETHING_OF: dict[str, tuple[str, ...]] = {"next_event": ("spikes",), "contrastive": ()}
"""Objectives that have no part in windows of other instruments; of one instrument alone (tests/test_contrastive.py)."""
REGIONS = [
    "ctx-lh-precentral",
    "ctx-lh-superiorfrontal",
    "Left-Hippocampus",
    "ctx-rh-lingual",
    "",
    "ctx-rh-cuneus",
]
"""Labels of an atlas; two pairs lie in one lobe each, and some sensors are in none."""
USUAL = {Tokenizer: "patch", Encoder: "transformer", Mask: "block", Objective: "masked_patches"}
"""What stands in the other families' places while one part is tried."""


def choices(family: type[Part]) -> list[dict[str, Any]]:
    """Every part of a family, in every way that it is tried."""
    return [
        {"kind": kind, **MINIMAL.get(family, {}), **settings}
        for kind in known(family)
        for settings in TRY.get(kind, [{}])
    ]


@dataclass(frozen=True)
class Case:
    """One part of each family, and the instrument whose signal they are tried on."""

    instrument: str
    parts: Mapping[type[Part], dict[str, Any]]

    @property
    def name(self) -> str:
        """What is unusual about it."""
        odd = [choice for family, choice in self.parts.items() if choice != usual()[family]]
        words = [str(value) for choice in odd for value in choice.values()]
        return "-".join([self.instrument, *(words or ["usual"])])


def usual() -> dict[type[Part], dict[str, Any]]:
    """The first way of the usual part of each family."""
    return {
        family: next(choice for choice in choices(family) if choice["kind"] == kind)
        for family, kind in USUAL.items()
    }


def reads(choice: dict[str, Any]) -> tuple[str, ...]:
    """The modalities of a tokenizer."""
    return Tokenizer.model_validate({"seconds": 1.0, "sfreq": 1.0, **choice}).reads


def cases() -> list[Case]:
    """Every tokenizer on each of its instruments; every part of the other families on EEG and, with events, on spikes."""
    tokenizers = [
        Case(name, {**usual(), Tokenizer: choice}) for choice in choices(Tokenizer) for name in reads(choice)
    ]
    events = {**usual(), Tokenizer: {"kind": "spike_events"}}
    counts = {
        **usual(),
        Tokenizer: {"kind": "spike_counts"},
    }  # events are discrete already and have no codes, nor equal steps of time
    others = [
        Case(name, {**base, family: choice})
        for family in (Encoder, Mask, Objective)
        for choice in choices(family)
        for name, base in (("eeg", usual()), ("spikes", counts if needs_grid(choice) else events))
        if name in SAYS_SOMETHING_OF.get(choice["kind"], INSTRUMENTS)
    ]
    every = [*tokenizers, *others]
    return [case for number, case in enumerate(every) if case not in every[:number]]


def needs_grid(choice: dict[str, Any]) -> bool:
    """Whether events are nothing for it: it asks for codes, or for equal steps of time."""
    kind = choice["kind"]
    return needs_codes(choice) or (kind in known(Encoder) and find(Encoder, kind).regular)


def needs_codes(choice: dict[str, Any]) -> bool:
    """Whether this is an objective that asks for codes."""
    return choice["kind"] in known(Objective) and find(Objective, choice["kind"]).needs_codes


def recipe_of(case: Case, make: Callable[..., PretrainRecipe]) -> PretrainRecipe:
    """A small recipe of these parts."""
    parts = case.parts
    signal = INSTRUMENTS[case.instrument].signal(parts[Tokenizer])
    asked = {parts[Objective]["kind"]: parts[Objective]}
    if parts[Objective] == usual()[Objective]:  # windows are described beside it, as in every run
        asked["neurodynamics"] = {}
    sections = {"encoder": parts[Encoder], "mask": parts[Mask], "objectives": asked}
    sections["train"] = {"steps": 4, "batch": 8, "average": 0.9}
    if needs_codes(parts[Objective]):
        sections["codecs"] = {case.instrument: codec_for(case.instrument, parts[Tokenizer]["kind"])}
    return make(signals={case.instrument: signal}, **sections)


@lru_cache
def codec_for(instrument: str, tokenizer: str) -> str:
    """The folder of an untrained codec of these tokens, which lives as long as the tests run."""
    signal = SignalRecipe.model_validate(INSTRUMENTS[instrument].signal({"kind": tokenizer}))
    codec = codec_of(signal, instrument, stream([somebody(instrument)], signal, instrument))
    KEPT.append(tempfile.TemporaryDirectory())
    return str(saved(codec, Path(KEPT[-1].name) / "codes"))


KEPT: list[tempfile.TemporaryDirectory[str]] = []


@lru_cache
def somebody(instrument: str, number: int = 3) -> Recording:
    """A simulated person; the last sensor's place is unknown, and voxels and contacts lie in regions of an atlas."""
    rng = np.random.default_rng([number, 1])
    settings = INSTRUMENTS[instrument].simulate
    found = modality(instrument).simulate(rng, brain=Brain.draw(np.random.default_rng(number)), **settings)
    found = replace(found, dataset="simulated", subject=f"{number:02d}", session="01")
    signal = found.signal(instrument)
    position = signal.sensors.position.copy()
    position[-1] = np.nan
    sensors = replace(signal.sensors, position=position)
    if instrument in ("seeg", "fmri"):
        sensors = sensors.with_regions([REGIONS[row % len(REGIONS)] for row in range(len(sensors))])
    return found.with_signal(instrument, replace(signal, sensors=sensors))
