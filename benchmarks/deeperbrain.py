"""Does what DeeperBrain adds help frozen features? Its recipe with one part taken away at a time, on simulated people held out.

One command, resumable, some minutes on a core; with --long three seeds of more steps:

    python benchmarks/deeperbrain.py --out runs/deeperbrain

Scores are balanced accuracies of a ridge on frozen features, intervals over the eight people whom no pretraining saw. What the
statistics head tells is looked at on the same people's windows, as they are and with a rhythm planted whose size or whose
coupling is known.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from arms import Arms, Probed, over_people, untrained
from asked import Asked, command
from claims import Claim, found, lines
from numpy.typing import NDArray

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.learner import Learner
from brainfm.objectives.neurodynamics import Describe, NeurodynamicsLoss
from brainfm.recipe import PretrainRecipe
from brainfm.scores import Difference
from brainfm.statistics import window_names

CARD = "simulated_eeg"
FULL = "as published"
ARMS = {
    FULL: [],
    "no place": ["encoder.where={kind: none}"],
    "fourier place": ["encoder.where={kind: fourier}"],
    "no moment": ["encoder.when={kind: none}"],
    "no statistics": ["objectives.neurodynamics.weight=0.0"],
}
"""What is changed of `pretrain/deeperbrain.yaml`."""
SHORT = [name for name in ARMS if name != "fourier place"]
SEEDS, LONG_SEEDS, LONG_STEPS = (0, 1), (0, 1, 2), 900
WITHOUT = {
    "no place": "a place blurred as the head blurs beats no place at all",
    "fourier place": "a place blurred as the head blurs beats Fourier features of it",
    "no moment": "oscillations and decays of time beat no time at all",
    "no statistics": "being asked for the window's statistics helps",
}
OF_PLACE = ("no place", "fourier place")
TOLD = {
    "alpha share_mean": "share of alpha",
    "sample entropy_mean": "sample entropy",
    "locking alpha_mean": "phase locking in alpha",
    "theta-gamma_mean": "coupling of gamma to theta",
}
"""Window statistics, of the twenty or so, that stand for their block."""
WINDOWS = 48
"""Of each person, that the statistics head is asked about."""
HERTZ, LOUD, COUPLED = 10.0, 0.6, 0.4
"""Of what is planted, in robust deviations: so large that it shows, and within what the corpus has."""
Plant = Callable[[Batch, np.random.Generator], Batch]


def main() -> None:
    """Train what is not trained yet, print the claims."""
    command(__doc__, "deeperbrain", measured, lines, "steps and seeds", measured_long)


def measured(asked: Asked) -> dict[str, Any]:
    """Two seeds of the recipe's own steps."""
    return claims(asked, SHORT, SEEDS, None)


def measured_long(asked: Asked) -> dict[str, Any]:
    """Three seeds of three times as many, and one more arm."""
    return claims(replace(asked, out=asked.out / "long"), list(ARMS), LONG_SEEDS, LONG_STEPS)


def claims(asked: Asked, names: list[str], seeds: tuple[int, ...], steps: int | None) -> dict[str, Any]:
    """Every claim about these arms."""
    torch.set_num_threads(1)
    arms = Arms(
        {name: partial(recipe, ARMS[name], asked, steps) for name in names},
        asked.few(seeds),
        asked.out,
    )
    on = f"{CARD}, 8 people, {len(arms.seeds)} seed{'s' * (len(arms.seeds) > 1)}"
    return found([*probed(arms, on, asked.folds), *statistics(arms, on)])


def recipe(changes: list[str], asked: Asked, steps: int | None, seed: int) -> PretrainRecipe:
    """An arm's recipe."""
    more = [] if steps is None else [f"train.steps={steps}"]
    sets = [f"seed={seed}", *more, *changes]
    return asked.shortened(PretrainRecipe.load("deeperbrain", sets))


def probed(arms: Arms, on: str, folds: int | None) -> list[Claim]:
    """What each part adds to features of every sensor, and what places add where a probe is not told the sensor."""
    told = []
    apart = Probed(arms, CARD, "sensor", list(arms.of), [FULL], folds)
    told.append(claim("pretraining helps frozen features", on, apart, untrained(FULL)))
    told += [claim(WITHOUT[arm], on, apart, arm) for arm in arms.of if arm != FULL]
    of_place = [arm for arm in arms.of if arm in OF_PLACE]
    mixed = Probed(arms, CARD, "mean", [FULL, *of_place], folds=folds)
    where = f"{on}, features averaged over the head"
    return told + [claim(WITHOUT[arm], where, mixed, arm) for arm in of_place]


def claim(says: str, on: str, probed_: Probed, without: str) -> Claim:
    """The full arm against another."""
    gap: Difference = probed_.gap(FULL, without)
    figure = f"{probed_.row(FULL).score:.3f}; {without} {probed_.row(without).score:.3f}"
    return Claim(says, on, figure, (gap.score, gap.low, gap.high))


def statistics(arms: Arms, on: str) -> list[Claim]:
    """How well the head tells people whom it never saw what their windows are like, and what was planted in them."""
    nets, unseen = arms.learners[FULL], arms.unseen(FULL, "eeg")
    told = []
    plain = [told_of(net, unseen, untouched) for net in nets]
    for name, word in TOLD.items():
        says = f"{word} of new people's windows is told from half of their patches"
        told.append(agreement(says, on, [one[name] for one in plain]))
    for name, plant, word in (
        ("alpha share_mean", louder, "share of alpha, where a 10 Hz rhythm of any size is planted,"),
        (
            "locking alpha_mean",
            coupled,
            "alpha locking, where a 10 Hz rhythm's phase wanders more or less from sensor to sensor,",
        ),
    ):
        planted = [told_of(net, unseen, plant)[name] for net in nets]
        told.append(agreement(f"{word} is told", on, planted))
    return told


Answers = dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]]
"""By statistic, for each person, what was told and what is so, z-scored over the corpus."""


def agreement(
    says: str, on: str, several: list[list[tuple[NDArray[np.float64], NDArray[np.float64]]]]
) -> Claim:
    """Pearson's r within each person, the mean over people and seeds; beside it the error next to that of the corpus's mean."""
    r = np.array([[np.corrcoef(told, true)[0, 1] for told, true in people] for people in several])
    both = [
        np.concatenate(side) for side in zip(*(pair for people in several for pair in people), strict=True)
    ]
    error, alone = np.square(both[0] - both[1]).mean(), np.square(both[1]).mean()
    mean = over_people(r.mean(axis=0))
    return Claim(says, on, f"r {mean[0]:.2f}; squared error {error:.2f}, of the mean {alone:.2f}", mean)


@torch.inference_mode()
def told_of(net: Learner, unseen: Stream, plant: Plant) -> Answers:
    """What is told of every person's windows once something was planted in them."""
    (objective,) = [one for one in net.objectives.values() if isinstance(one, NeurodynamicsLoss)]
    describe = objective.describe["eeg"]
    assert isinstance(describe, Describe)
    names = window_names("eeg", describe.part.of)
    answers: Answers = {name: [] for name in TOLD}
    for person in range(len(unseen.recordings)):
        rows = np.flatnonzero(unseen.windows.recording == person)
        rows = rows[np.linspace(0, len(rows) - 1, min(WINDOWS, len(rows))).astype(int)]
        batch = plant(unseen.batch(rows), np.random.default_rng([person, 3]))
        view = net.view((batch,), Chance(0, 5, person))
        (answer,) = objective.answers(view)
        told, wanted = (
            one[:, 0].double().numpy() for one in (answer["window"].told, answer["window"].wanted)
        )
        for name in TOLD:
            place = names.index(name)
            answers[name].append((told[:, place], wanted[:, place]))
    return answers


def untouched(batch: Batch, rng: np.random.Generator) -> Batch:
    """Nothing planted."""
    return batch


def louder(batch: Batch, rng: np.random.Generator) -> Batch:
    """The same 10 Hz rhythm on every sensor, of another size in every window: none to nearly that of the loudest people."""
    size = torch.from_numpy(rng.uniform(0, LOUD, (len(batch), 1, 1)))
    wave = rhythm(batch, np.zeros(batch.signal.shape), rng)
    return replace(batch, signal=(batch.signal + size * wave).float())


def coupled(batch: Batch, rng: np.random.Generator) -> Batch:
    """10 Hz on every sensor, as loud in all windows; how fast each sensor's phase wanders is drawn for each window."""
    wander = rng.uniform(0, 1, (len(batch), 1, 1)) * rng.normal(size=batch.signal.shape)
    phase = wander.cumsum(axis=-1) * np.sqrt(2 * np.pi / batch.sfreq)
    return replace(batch, signal=(batch.signal + COUPLED * rhythm(batch, phase, rng)).float())


def rhythm(batch: Batch, phase: NDArray[np.float64], rng: np.random.Generator) -> torch.Tensor:
    """(window, sensor, time) a 10 Hz cosine with this added to its phase."""
    time = np.arange(batch.signal.shape[-1]) / batch.sfreq
    start = rng.uniform(0, 2 * np.pi, (len(batch), 1, 1))
    return torch.from_numpy(np.cos(2 * np.pi * HERTZ * time + start + phase))


if __name__ == "__main__":
    main()
