"""How well is one modality told from another that is seen beside it? One is hidden whole, on people or blocks not trained on.

    python benchmarks/other_modality.py spikes --out runs/other_modality --json

Scores are shares of variance: 0 is the mean of each row, below 0 worse than that; intervals are over recordings, of a single
one over ten stretches of its tested windows. Beside the network stand itself with the other modality of another window, and a
ridge regression within each recording (a Wiener filter) from the other modality around: from its samples where patches are
waveforms, else from its means over a token's length. Its penalty is chosen on the last quarter of the training windows.
`reach` and `place` need BRAINFM_DATA.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asked import Asked
from numpy.typing import NDArray
from score_tables import Found, decimals, interval, markdown
from sklearn.linear_model import Ridge

from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Plan, Together
from brainfm.data.preprocess import prepare
from brainfm.gather import corpus, gather, joined
from brainfm.jobs.pretrain import Pretraining
from brainfm.learner import Learner, learner
from brainfm.masks.modality import all_or_none
from brainfm.metrics import Metric, bootstrap
from brainfm.objectives.masked_patches import SHORT, MaskedPatchLoss, patches_wanted
from brainfm.recipe import PretrainRecipe
from brainfm.tokens import join
from brainfm.train import Run, train
from brainfm.view import Piece, View

Array = NDArray[np.float64]
ALPHAS = np.logspace(0, 6, 13)
REACH = 4
"""Steps on either side that the ridge regression sees: samples of a waveform, else means over a token's length."""
STRETCHES = 10
HELD = {
    "spikes": f"{{simulated_spikes: [{', '.join(f'0{n}@140-180' for n in range(1, 9))}]}}",
    "fields": f"{{simulated_together: [{', '.join(f'{n:02d}@140-180' for n in range(1, 17))}]}}",
    "reach": "{spk_dad_m1: ['chewie@12-31']}",
    "place": "{spk_nelpy_ca1: ['@400-600']}",
}
CASES = {
    "spikes": ["spikes_behaviour", "train.steps=1500"],
    "fields": ["eeg_seeg", "train.steps=1000"],
    "reach": ["spikes_reach", "train.steps=300"],
    "place": ["spikes_place", "train.steps=500"],
}
"""The recipe of each case, with what is changed in it."""
WORDS = {
    "spikes": "simulated neurons and cursor, last 40 s of each",
    "fields": "simulated EEG and sEEG, last 40 s of each",
    "reach": "reaches (DAD, second part)",
    "place": "rat's place, 200 s",
}
SHARE = Metric(
    lambda missed, total, weight: 1 - (weight @ missed) / (weight @ total),
    lambda n, total: 0.0,
    lambda missed, total: None,
    classes=False,
)
"""The share of variance, of what is missed of each window and of what there was."""
SMALL = [
    "encoder={kind: transformer, depth: 2, width: 64, heads: 1}",
    "objectives={masked_patches: {decoder_depth: 2}}",
    "train.precision=no",
]
"""A network that one core trains in some minutes."""


@dataclass(frozen=True)
class Figure:
    """One modality told from another: the network, the same shown another window, ridge regression; shares of variance."""

    told: str
    shown: str
    network: float
    low: float
    high: float
    another_window: float
    ridge: float | None
    windows: int


def main() -> None:
    """Train one case and print its figures."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("case", choices=CASES)
    arguments.add_argument("--out", type=Path, default=Path("runs/other_modality"))
    arguments.add_argument("--set", dest="overrides", action="append", default=[])
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    found = case(given.case, given.out / given.case, given.overrides)
    if given.json:
        print(json.dumps({"rows": [asdict(one) for one in found]}, indent=1))  # noqa: T201
        return
    for one in found:
        ridge = "-" if one.ridge is None else f"{one.ridge:.3f}"
        network = f"{one.network:.3f} ({one.low:.3f} to {one.high:.3f})"
        said = f"{one.told} from {one.shown}: network {network}, another window {one.another_window:.3f}"
        print(f"{said}, ridge {ridge}, n {one.windows}")  # noqa: T201


def case(name: str, out: Path, overrides: Sequence[str] = ()) -> list[Figure]:
    """Both figures of a case."""
    recipe, *changed = CASES[name]
    held = f"data.hold_out={HELD[name]}"
    return figures(PretrainRecipe.load(recipe, [*changed, held, *SMALL, *overrides]), out)


def measured(asked: Asked) -> dict[str, Any]:
    """Every case."""
    steps = [] if asked.limit is None else [f"train.steps={asked.limit}"]
    cases = {name: case(name, asked.out / name, steps) for name in asked.few(list(CASES))}
    return {"cases": {name: [asdict(one) for one in both] for name, both in cases.items()}}


def lines(found: Found) -> list[str]:
    """The table."""
    rows = [
        [
            WORDS[name] if not row else "",
            f"{one['told']} from {one['shown']}",
            decimals(one["network"]),
            interval(one),
            decimals(one["another_window"]),
            decimals(one["ridge"]),
            str(one["windows"]),
        ]
        for name, both in found["cases"].items()
        for row, one in enumerate(both)
    ]
    head = ["case (not trained on)", "told", "network", "95 % interval", "another window", "ridge", "windows"]
    return markdown(head, rows)


def figures(recipe: PretrainRecipe, out: Path) -> list[Figure]:
    """Train on what is not held out, and tell each modality from the other on what is."""
    torch.set_num_threads(1)
    learnt, streams, manifest = gather(recipe)
    net = learner(learnt, streams)
    plan = Plan(streams, recipe.train.batch, recipe.seed)
    identity = {"recipe": recipe.hash, "data": manifest.digest}
    train(Run(Pretraining(plan, net), recipe.train, recipe.seed, out, recipe.text, identity))
    net.eval()
    (one,) = recipe.together
    seen, tested = streams["+".join(one.modalities)], held_out(learnt)
    assert isinstance(seen, Together)
    return [figure(net, seen, tested, which) for which in range(len(one.modalities))]


def held_out(recipe: PretrainRecipe) -> Together:
    """The windows of the people, or of the stretches, that are held out."""
    kept, out = corpus(recipe.data)
    rest = [replace(one, kept_out=((0.0, a), (b, np.inf))) for one in kept for a, b in one.kept_out]
    ready = {
        name: dict(enumerate(prepare([*out, *rest], signal.prepare, name)))
        for name, signal in recipe.signals.items()
    }
    return joined(recipe.together[0], recipe.signals, ready)


def figure(net: Learner, seen: Together, tested: Together, which: int) -> Figure:
    """One modality told from the other."""
    wanted, told, wrong, ridge = [], [], [], []
    for rows in tested.layouts:
        batches = tested.batches(rows)
        truth, guess = tell(net, batches, which)
        # half a recording away, so that windows which overlap are not taken for others
        turned = [batch if n == which else rolled(batch) for n, batch in enumerate(batches)]
        wanted.append(truth)
        told.append(guess)
        wrong.append(tell(net, turned, which)[1])
        ridge.append(regressed(net, seen, batches, tested, rows, which))
    classical = None if any(one is None for one in ridge) else [one for one in ridge if one is not None]
    names = [part.modality for part in tested.parts]
    missed, total = by_window(wanted, told)
    share = bootstrap(SHARE, [missed], total, groups(tested), np.random.default_rng(0))
    return Figure(
        names[which],
        names[1 - which],
        share.score,
        share.low,
        share.high,
        explained(wanted, wrong),
        None if classical is None else explained(wanted, classical),
        len(tested.windows),
    )


def rolled(batch: Batch) -> Batch:
    """The same windows with the signal of others."""
    return replace(batch, signal=batch.signal.roll(len(batch) // 2, dims=0))


@torch.inference_mode()
def tell(net: Learner, batches: Sequence[Batch], which: int, at_once: int = 32) -> tuple[Array, Array]:
    """(window, row, time) what the rows of one modality held, and what is told of them with all of it hidden."""
    objective = net.objectives["masked_patches"]
    assert isinstance(objective, MaskedPatchLoss)
    wanted: list[Array] = []
    told: list[Array] = []
    for first in range(0, len(batches[0]), at_once):
        few = [some(batch, first, first + at_once) for batch in batches]
        tokenized = [net.model.tokenize(batch) for batch in few]
        hidden = [all_or_none(one.tokens, number == which) for number, one in enumerate(tokenized)]
        view = View(tuple(map(Piece, few, tokenized, hidden)), net.model.encoder, Chance(0))
        piece = view.pieces[which]
        guess = objective.decode(piece.modality, join(view.seen), piece.asked)
        truth = patches_wanted(piece.tokenized, piece.modality)
        for values, found in ((truth, wanted), (guess, told)):
            found.append(values.unflatten(1, (piece.tokenized.tokens.rows, -1)).flatten(2).double().numpy())
    return np.concatenate(wanted), np.concatenate(told)


def some(batch: Batch, first: int, stop: int) -> Batch:
    """Some windows of a batch."""
    rows = slice(first, stop)
    changed: dict[str, Any] = {
        name: value[rows] for name, value in vars(batch).items() if isinstance(value, torch.Tensor)
    }
    return replace(batch, **changed)


def regressed(
    net: Learner,
    seen: Together,
    batches: Sequence[Batch],
    tested: Together,
    rows: NDArray[np.int64],
    which: int,
) -> Array | None:
    """What ridge regressions tell, one within each recording; None for a recording that was not trained on."""
    places = [(one.subject, one.session, one.run) for one in seen.recordings]
    out: list[Array] = []
    numbers = tested.windows.recording[rows]
    assert (np.diff(numbers) >= 0).all()
    for number in np.unique(numbers):
        one = tested.recordings[number]
        if (one.subject, one.session, one.run) not in places:
            return None
        own = np.flatnonzero(seen.windows.recording == places.index((one.subject, one.session, one.run)))
        learnt = seen.batches(own)
        here = np.flatnonzero(numbers == number)
        shown = [some(batch, here[0], here[-1] + 1) for batch in batches]
        length = net.model.signals[shown[1 - which].modality].tokenizer.times
        x, y = (around(one[1 - which], 1 if length >= SHORT else length) for one in (learnt, shown))
        target = tell(net, learnt, which)[0]
        out.append(ridge(x, target, y))
    return np.concatenate(out)


def around(batch: Batch, length: int) -> Array:
    """(window, time, feature) means of every sensor over `length` samples, to `REACH` lengths before and after; zeros beyond."""
    signal = batch.signal.double().numpy()
    reach = REACH * length + length // 2
    padded = np.pad(signal, ((0, 0), (0, 0), (reach, reach)))
    means = np.lib.stride_tricks.sliding_window_view(padded, length, axis=2).mean(axis=-1)
    count = signal.shape[2]
    lags = [means[:, :, lag * length : lag * length + count] for lag in range(2 * REACH + 1)]
    return np.concatenate(lags, axis=1).transpose(0, 2, 1)


def ridge(x: Array, target: Array, shown: Array) -> Array:
    """(window, row, time) what a ridge regression on (window, time, feature) tells; learnt on (window, row, time) targets."""
    y = target.transpose(0, 2, 1)
    cut = 3 * len(x) // 4
    (a, b), (c, d) = (x[:cut], x[cut:]), (y[:cut], y[cut:])

    def told(alpha: float, x_: Array, y_: Array, at: Array) -> Array:
        spread = np.maximum(x_.std(axis=(0, 1)), 1e-9)
        model = Ridge(alpha).fit((x_ / spread).reshape(-1, x_.shape[2]), y_.reshape(-1, y_.shape[2]))
        return model.predict((at / spread).reshape(-1, at.shape[2])).reshape(*at.shape[:2], y_.shape[2])

    loss = [float(((told(alpha, a, c, b) - d) ** 2).sum()) for alpha in ALPHAS]
    return told(float(ALPHAS[int(np.argmin(loss))]), x, y, shown).transpose(0, 2, 1)


def explained(wanted: Sequence[Array], told: Sequence[Array]) -> float:
    """The share of variance around each row's mean, all layouts together."""
    return SHARE(*by_window(wanted, told))


def by_window(wanted: Sequence[Array], told: Sequence[Array]) -> tuple[Array, Array]:
    """(window,) what is missed of each, and what there was around each row's mean in its layout."""
    missed = [((a - b) ** 2).sum(axis=(1, 2)) for a, b in zip(wanted, told, strict=True)]
    total = [((a - a.mean(axis=(0, 2), keepdims=True)) ** 2).sum(axis=(1, 2)) for a in wanted]
    return np.concatenate(missed), np.concatenate(total)


def groups(tested: Together) -> NDArray[np.int64]:
    """(window,) what an interval draws together, in order of the layouts: recordings, or stretches of the only one."""
    rows = np.concatenate(tested.layouts)
    recording = tested.windows.recording[rows]
    return recording if len(np.unique(recording)) > 1 else rows * STRETCHES // len(rows)


if __name__ == "__main__":
    main()
