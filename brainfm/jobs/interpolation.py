"""How well the decoder of `sources` tells electrodes that are not there, beside MNE's spherical splines (Perrin et al. 1989).

A cap of few electrodes is the case that matters: splines have little to bend between, the decoder knows what heads are like.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm import pictures
from brainfm.batch import Batch
from brainfm.chance import seeded
from brainfm.corpus import Stream
from brainfm.errors import DataError
from brainfm.gather import corpus, stream
from brainfm.progress import bar
from brainfm.recipe import PretrainRecipe
from brainfm.report import Figures
from brainfm.tokenizers.sources import Sources, SourcesTokenizer, leave_out, relative_error

SHOWN = (4, 6, 8, 12, 16)
"""Electrodes of which the others are told."""
ROUNDS = 4
"""Random choices of the electrodes shown, for each number of them."""
WINDOWS = 8
"""Windows of each choice."""


@dataclass(frozen=True)
class Interpolation:
    """By the number of electrodes shown, of each way of telling the others: (correlation, squared error over the power)."""

    shown: Sequence[int]
    sources: NDArray[np.float64]
    splines: NDArray[np.float64]
    people: int

    @property
    def figure(self) -> Figures:
        """For a report."""
        numbers = {
            "shown": list(self.shown),
            "sources": self.sources.tolist(),
            "splines": self.splines.tolist(),
        }
        picture = pictures.comparison(
            np.array(self.shown, float),
            {"sources": self.sources[:, 0], "spherical splines": self.splines[:, 0]},
            "electrodes shown",
            "correlation with those not shown",
        )
        sentence = (
            f"Electrodes that were not shown, of {self.people} people who were not trained on, told from the others "
            "by the sources' decoder and by MNE's spherical splines."
        )
        rows = zip(self.shown, self.sources, self.splines, strict=True)
        table = [
            {
                "electrodes shown": str(n),
                "sources, correlation": f"{a[0]:.2f}",
                "splines, correlation": f"{b[0]:.2f}",
                "sources, error": f"{a[1]:.2f}",
                "splines, error": f"{b[1]:.2f}",
            }
            for n, a, b in rows
        ]
        return Figures("Any electrode at any place", [picture], sentence, table, numbers)


def interpolation(recipe: PretrainRecipe, steps: int, seed: int = 0, quiet: bool = False) -> Interpolation:
    """Train the sources of a recipe's EEG alone on those who are not held out, and compare on those who are."""
    part = recipe.signals["eeg"].tokenizer
    if not isinstance(part, Sources):
        raise DataError(f"electrodes can be told by the tokenizer sources, not by {part.kind}")
    kept, held = ([one for one in people if "eeg" in one.signals] for people in corpus(recipe.data))
    learnt_on, told_of = (stream(people, recipe.signals["eeg"], "eeg") for people in (kept, held))
    shown = [n for n in SHOWN if n < len(held[0].signal("eeg").sensors)]
    tokenizer = trained(part, learnt_on, steps, seed, quiet)
    rng = np.random.default_rng([seed, 5])
    found = np.array([[compare(tokenizer, told_of, n, rng) for _ in range(ROUNDS)] for n in shown]).mean(
        axis=1
    )
    return Interpolation(shown, found[:, 0], found[:, 1], len(held))


def trained(part: Sources, learnt_on: Stream, steps: int, seed: int, quiet: bool) -> SourcesTokenizer:
    """The tokenizer after `steps` of telling sensors that were left out from the others."""
    with seeded(seed):
        tokenizer = part.build(width=part.hidden, modality=0)
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    rng, generator = np.random.default_rng([seed, 6]), torch.Generator().manual_seed(seed)
    with bar("sources", steps, quiet=quiet) as tick:
        for _ in range(steps):
            batch = learnt_on.batch(rng.choice(len(learnt_on.windows), WINDOWS, replace=False))
            seen, asked = leave_out(batch, generator)
            relative_error(tokenizer.decode(tokenizer.encode(seen), asked), asked).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            tick("")
    return tokenizer.eval()


@torch.no_grad()
def compare(
    tokenizer: SourcesTokenizer, told_of: Stream, shown: int, rng: np.random.Generator
) -> list[list[float]]:
    """[sources, splines] → [correlation, error over power] on random windows of one person and a random choice of electrodes."""
    person = rng.integers(len(told_of.recordings))
    rows = rng.choice(np.flatnonzero(told_of.windows.recording == person), WINDOWS, replace=False)
    batch = told_of.batch(rows)
    order = rng.permutation(batch.signal.shape[1])
    seen, asked = (batch.sensors(torch.from_numpy(part)) for part in (order[:shown], order[shown:]))
    true = asked.signal.double().numpy()
    told = tokenizer.decode(tokenizer.encode(seen), asked).double().numpy()
    return [likeness(told, true), likeness(splines(batch, order[shown:]), true)]


def splines(batch: Batch, asked: NDArray[np.int64]) -> NDArray[np.float64]:
    """(window, asked, time) the electrodes `asked`, from the others, by `mne.io.Raw.interpolate_bads`; windows of one person."""
    import mne

    n, sensors, times = batch.signal.shape
    names = [f"e{row}" for row in range(sensors)]
    data = batch.signal.double().numpy().transpose(1, 0, 2).reshape(sensors, -1)
    raw = mne.io.RawArray(data, mne.create_info(names, batch.sfreq, "eeg"), verbose="error")
    place = dict(zip(names, batch.position[0].double().numpy(), strict=True))
    raw.set_montage(mne.channels.make_dig_montage(place, coord_frame="head"), verbose="error")
    raw.info["bads"] = [names[row] for row in asked]
    raw.interpolate_bads(verbose="error")
    return raw.get_data()[asked].reshape(len(asked), n, times).transpose(1, 0, 2)


def likeness(told: NDArray[np.float64], true: NDArray[np.float64]) -> list[float]:
    """Mean correlation over windows and electrodes, and the squared error over the power."""
    a, b = (x - x.mean(axis=-1, keepdims=True) for x in (told, true))
    size = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1)) + 1e-12
    return [
        float(((a * b).sum(axis=-1) / size).mean()),
        float(((told - true) ** 2).mean() / (true**2).mean()),
    ]
