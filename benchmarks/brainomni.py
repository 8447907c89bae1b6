"""Are the codes of latent sources the same brain under another cap or helmet, and do EEG and MEG together tell more than either?

One command, resumable:

    python benchmarks/brainomni.py --out runs/brainomni
    python benchmarks/brainomni.py --long --out runs/brainomni-long

The second is joint reading alone, with ten times the steps and three seeds: an hour of a core.

Everything is simulated, since no small public set has both at once; people who are scored were not trained on. BrainOmni's own
question of devices: trained on one layout of sensors, asked for sensors where none was (half of a cap or helmet).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked, command
from claims import Claim, compared, found, lines
from numpy.typing import NDArray
from scipy.stats import t

from brainfm import folders
from brainfm.batch import Batch
from brainfm.codebook import correlations
from brainfm.codec import Codec
from brainfm.corpus import Stream
from brainfm.data.cards import DataCard
from brainfm.data.splits import split
from brainfm.evaluation import Evaluation
from brainfm.gather import stream
from brainfm.jobs.interpolation import splines
from brainfm.jobs.pretrain import pretrain
from brainfm.jobs.tokenize import train_codes
from brainfm.metrics import Probabilities
from brainfm.model import BrainFM
from brainfm.panel import probe_fold
from brainfm.pooling import pool_tokens
from brainfm.recipe import PretrainRecipe, TokenizeRecipe
from brainfm.sensor_codec import tell
from brainfm.tokens import join

STEPS = 150
PEOPLE = 8
WINDOWS = 8
"""Of each person who is scored."""
OLD = {"eeg": 19, "meg": 30}
"""Sensors of the layout that was trained on; the new one has those that come after them."""
NEW = {"eeg": 64, "meg": 60}
CARD = "simulated_eeg_meg"
FIRST = 8
"""People that codecs and networks train on; the others are scored."""
NOWHERE = (
    "prepare=[{kind: band_pass, low: 0.5, high: 45.0}, {kind: resample, sfreq: 128.0}, "
    "{kind: robust_scale, scope: recording, clip: 15.0}, {kind: without_positions}]"
)


def main() -> None:
    """Train what is not trained yet, print the table."""
    command(__doc__, "brainomni", measured, lines, "training steps and people", measured_long)


def measured(asked: Asked) -> dict[str, Any]:
    """The claims."""
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    return found([*devices(asked), *joint(asked)])


def measured_long(asked: Asked) -> dict[str, Any]:
    """What a hundred and fifty steps are too few to show, with ten times as many and three seeds."""
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    return found(joint(asked, 10 * STEPS, asked.few((0, 1, 2))))


def codec_of(asked: Asked, name: str, overrides: list[str]) -> Codec:
    """The codec of a run, trained if it is not there yet."""
    steps = [f"train.steps={asked.steps(STEPS)}", "codes.usage=0.0"]
    train_codes(TokenizeRecipe.load("codes_brainomni", [*steps, *overrides]), asked.out / name, quiet=True)
    return Codec.load(asked.out / name, unfinished=True)


def people(asked: Asked, modality: str, sensors: int, seed: int, subjects: int, seconds: float) -> Path:
    """A card of simulated people under a cap or a helmet of so many sensors."""
    path = asked.out / f"{modality}_{sensors}.md"
    size = f"sensors: {sensors}, subjects: {subjects}, seconds: {seconds}, seed: {seed}"
    reader = f"{{kind: simulated, modality: {modality}, {size}}}"
    facts = f"title: {path.stem}\nmodality: {modality}\nlicence: none\ncitation: none\nsource: brainfm\n"
    path.write_text(
        f'---\n{facts}folder: ""\nfiles: ""\nreader: {reader}\n---\nSimulated.\n', encoding="utf-8"
    )
    return path


def devices(asked: Asked) -> list[Claim]:
    """Sensors of a device that no training saw, told from others of it, beside what interpolates between those."""
    size = (12, 60.0) if asked.limit is None else (3, 20.0)
    cards = [people(asked, modality, count, 21, *size) for modality, count in OLD.items()]
    data = f"data={{cards: [{', '.join(map(str, cards))}]}}"
    codec = codec_of(asked, "devices", [data])
    nowhere = codec_of(asked, "nowhere", [data, NOWHERE])
    claims = []
    for modality, title, plain in (("eeg", "cap", "splines"), ("meg", "helmet", "near coils of the kind")):
        card = people(asked, modality, NEW[modality], 23, PEOPLE, 30.0)
        limit = None if asked.limit is None else max(2, asked.limit)  # one person has no interval
        recordings = DataCard.load(card).recordings(limit)
        tested = stream(recordings, codec.recipe, modality)
        rows = {name: np.array([of_person(one, tested, index, OLD[modality]) for index in range(len(recordings))])
                for name, one in (("codec", codec), ("nowhere", nowhere))}  # fmt: skip
        r, other = rows["codec"], rows["nowhere"]
        on = f"simulated {modality.upper()}, {len(recordings)} new people, {NEW[modality] - OLD[modality]} sensors at new places"
        figure = (
            f"r {r[:, 0].mean():.3f}, {plain} {r[:, 1].mean():.3f}, mean of the shown {r[:, 2].mean():.3f}"
        )
        old = f"; all sensors of the {title} trained on, none left out: {r[:, 3].mean():.3f}"
        claims += [
            Claim(f"half of an unseen {title} is told from codes of its other half, better than by its mean", on,
                  figure + old, interval(r[:, 0] - r[:, 2])),
            Claim(f"and better than by {plain}, which need no codes", on, figure, interval(r[:, 0] - r[:, 1])),
            Claim(f"knowing where sensors are is what tells an unseen {title}", on,
                  f"r {r[:, 0].mean():.3f}, without positions {other[:, 0].mean():.3f}", interval(r[:, 0] - other[:, 0])),
        ]  # fmt: skip
    return claims


@torch.no_grad()
def of_person(codec: Codec, tested: Stream, person: int, old: int) -> list[float]:
    """Mean correlation over windows and sensors: of the codec, of interpolation, of the mean of what is shown, and of the codec
    where the device is the old one and nothing is left out."""
    rows = np.flatnonzero(tested.windows.recording == person)[:WINDOWS]
    batch = tested.batch(rows)
    if "without_positions" in [step.kind for step in codec.recipe.prepare]:
        batch = replace(
            batch, located=torch.zeros_like(batch.located), position=torch.zeros_like(batch.position)
        )
    new = batch.sensors(torch.arange(old, batch.signal.shape[1]))
    order = np.random.default_rng([7, person]).permutation(new.signal.shape[1])
    half = len(order) // 2
    shown, wanted = (new.sensors(torch.from_numpy(part)) for part in (order[:half], order[half:]))
    true = wanted.signal.double().numpy()
    told = tell(codec.tokenizer, codec.patches, shown, wanted).sensors.double().numpy()
    known = bool(new.located.any())
    near = (
        true * 0
        if not known
        else splines(new, order[half:])
        if batch.modality == "eeg"
        else nearby(shown, wanted)
    )
    mean = np.broadcast_to(shown.signal.double().numpy().mean(axis=1, keepdims=True), true.shape)
    same = batch.sensors(torch.arange(old))
    whole = tell(codec.tokenizer, codec.patches, same, same).sensors.double().numpy()
    return [
        *(likeness(one, true) for one in (told, near, mean)),
        likeness(whole, same.signal.double().numpy()),
    ]


def nearby(shown: Batch, wanted: Batch) -> NDArray[np.float64]:
    """Coils told by those of their kind, weighed by one over the squared distance and by how alike they point."""
    apart = torch.cdist(wanted.position[0], shown.position[0]).clamp(min=1e-3)
    alike = (wanted.orientation[0] @ shown.orientation[0].T) * (
        wanted.kind[0][:, None] == shown.kind[0][None]
    )
    weight = alike / apart**2
    return (weight / weight.abs().sum(dim=1, keepdim=True) @ shown.signal).double().numpy()


def likeness(told: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """Mean Pearson correlation over windows and sensors, 0 where nothing is told."""
    return float(np.nan_to_num(correlations(true, told)).mean())


def interval(gap: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean over people with its 95 % interval, by Student's t."""
    half = float(t.ppf(0.975, len(gap) - 1) * gap.std(ddof=1) / np.sqrt(len(gap)))
    return float(gap.mean()), float(gap.mean()) - half, float(gap.mean()) + half


def joint(asked: Asked, steps: int = STEPS, seeds: Sequence[int] = (0,)) -> list[Claim]:
    """Frozen features of a network that read both at once, beside those of networks of one instrument each."""
    data, first, evaluation = simultaneous(asked)
    codec_of(asked, "codec", [data])
    folder = asked.out / "codec"
    arms = {"EEG and MEG": ["eeg", "meg"], "EEG": ["eeg"], "MEG": ["meg"]}
    told: dict[str, list[Probabilities]] = {}
    for seed in seeds:
        for name, modalities in arms.items():
            where = asked.out / f"{name.replace(' ', '-')}-seed-{seed}"
            overrides = [
                f"signals={{{', '.join(f'{one}: sources_250ms' for one in modalities)}}}",
                f"codecs={{{', '.join(f'{one}: {folder}' for one in modalities)}}}",
                f"train.steps={asked.steps(steps)}",
                f"seed={seed}",
                data,
                *([] if len(modalities) > 1 else ["together=[]"]),
            ]
            pretrain(PretrainRecipe.load("brainomni", overrides), where, quiet=True)
            model = BrainFM.from_pretrained(where)
            told.setdefault(name, []).append(probed(model, evaluation, modalities))
            if len(modalities) > 1:
                told.setdefault("untrained", []).append(probed(model.twin(seed), evaluation, modalities))
    on = (
        f"{CARD}, {first} people trained on, {evaluation.unit}, {len(evaluation.windows)} windows of 2 s, "
        f"{len(seeds)} seed{'s' * (len(seeds) > 1)}, {asked.steps(steps)} steps"
    )
    both, twin = ("EEG and MEG", told["EEG and MEG"]), ("untrained", told["untrained"])
    return [
        *(compared(f"EEG and MEG together tell more than {name}", on, evaluation, both, (name, told[name]))
          for name in ("EEG", "MEG")),
        compared("telling codes makes features better than no training", on, evaluation, both, twin),
    ]  # fmt: skip


def simultaneous(asked: Asked) -> tuple[str, int, Evaluation]:
    """The corpus as an override, how many people are trained on, and the task of the others, scored by a probe of one another."""
    card, first = CARD, FIRST
    if asked.limit is not None:  # a check: few people and short sessions
        text = folders.find("data_cards", CARD, ".md").read_text(encoding="utf-8")
        few = asked.out / "few.md"
        few.write_text(
            text.replace("subjects: 16, seconds: 120.0", "subjects: 4, seconds: 40.0"), encoding="utf-8"
        )
        card, first = str(few), 2
    whole = Evaluation.of(DataCard.load(card))
    held = [one.subject for one in whole.recordings[first:]]
    kept = whole.windows.rows(np.flatnonzero(whole.windows.recording >= first))
    folds = split("CrossSubject", kept, whole.recordings, min(4, len(held)))
    names = ", ".join(f'"{name}"' for name in held)
    data = f"data={{cards: [{card}], hold_out: {{{Path(card).stem}: [{names}]}}}}"
    return data, first, Evaluation(whole.card, whole.recordings, kept, "CrossSubject", folds, whole.metric)


@torch.inference_mode()
def probed(model: BrainFM, evaluation: Evaluation, modalities: list[str]) -> Probabilities:
    """Out-of-fold predictions by ridge on the encoder's tokens of all these instruments, each source's mean over time apart."""
    model.eval()
    streams = [
        model.stream(model.prepare(evaluation.recordings, one), evaluation.windows, one) for one in modalities
    ]
    features: list[NDArray[np.float32]] = []
    for part in np.array_split(np.arange(len(evaluation.windows)), -(-len(evaluation.windows) // 32)):
        tokens = join([model.tokenize(one.batch(part)).tokens for one in streams])
        features.append(pool_tokens(model.encoder(tokens), "sensor").float().numpy())
    values = np.concatenate(features)
    return evaluation.out_of_fold(lambda _, fold: probe_fold(evaluation, values, fold, "ridge"))


if __name__ == "__main__":
    main()
