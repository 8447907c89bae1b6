"""Tokenize: cards → windows → patches → a codec whose codes are used, or a sentence that says which size would be."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from brainfm import code_pictures
from brainfm.batch import Batch
from brainfm.chance import Chance, entropy
from brainfm.codebook import Health, Usage, advice, capacity, correlations, spectral_errors
from brainfm.codec import Codec, Say
from brainfm.corpus import Plan, Stream
from brainfm.data.cards import DataCard
from brainfm.data.preprocess import fit
from brainfm.data.recording import Recording
from brainfm.data.store import Store, open_store
from brainfm.errors import BrainfmError, DataError
from brainfm.feed import Micro
from brainfm.files import write_folder, write_json
from brainfm.gather import corpus, sample, stream
from brainfm.held_out import kept_back
from brainfm.launch import is_main
from brainfm.manifest import Manifest
from brainfm.objectives import Loss
from brainfm.recipe import TokenizeRecipe
from brainfm.report import Figures, Section
from brainfm.train import Outcome, Run, train

LOOKED_AT = 512  # held-out windows on which codes are counted
EVERY = 5  # of so many blocks one is kept back where no recording is
LATER = "stretches of the same recordings that were kept back"
SEEN = "the windows that it was trained on"


class Unhealthy(BrainfmError):
    """Too few of a codec's codes are used; `health` says how many."""

    def __init__(self, recipe: TokenizeRecipe, health: Health, out: Path) -> None:
        super().__init__(
            f"{recipe.codes.modality} codes, {recipe.codes.quantizer.kind}: {health.advice}; "
            f"no codec was written, {out / 'report.html'} shows the codes"
        )
        self.health = health


@dataclass
class Coding:
    """What the training loop needs to know of a codec's training."""

    plan: Plan
    module: Codec

    def item(self, step: int, part: int, parts: int) -> Micro:
        share = self.plan.piece(step, part, parts)
        return Micro.of(share, share.stream.batches(share.rows))

    def loss(self, module: nn.Module, content: tuple[Batch], chance: Chance) -> Loss:
        loss: Loss = module(*content, chance.shared)
        return loss

    def save(self, folder: Path) -> None:
        self.module.save(folder)


@dataclass(frozen=True)
class Corpora:
    """What a codec is trained on and what its codes are counted on; `on` says in words what the second is.

    `train` and `test` are of its first instrument, `also` the same of others that its codes are of.
    """

    recipe: TokenizeRecipe
    train: Stream
    test: Stream
    on: str
    manifest: Manifest
    also: Sequence["Corpora"] = ()

    @property
    def every(self) -> Sequence["Corpora"]:
        """One for each instrument."""
        return (self, *self.also)


@dataclass(frozen=True)
class Coded:
    """A codec that passed, and how its training ended; `health` is None in a process that is not the main one."""

    outcome: Outcome
    codec: Path
    health: Health | None

    @property
    def json(self) -> dict[str, Any]:
        """What `tokenize train --json` prints."""
        assert self.health is not None
        return {**self.outcome.json, "codec": str(self.codec), **self.health.json}


def train_codes(chosen: TokenizeRecipe, out: Path, quiet: bool = False, limit: int | None = None) -> Coded:
    """Train a recipe's codec to its end, or on from where it stopped, and keep it if its codes are used.

    Raises `Unhealthy`, once the report is written, where too few are.
    """
    from brainfm.jobs.reporting import losses, texts, write

    data = gather(chosen, limit)
    codec = learner(data)
    identity = {"recipe": chosen.hash, "data": data.manifest.digest}
    streams = {one.train.modality: one.train for one in data.every}
    task = Coding(Plan(streams, chosen.train.batch, chosen.seed), codec)
    outcome = train(Run(task, chosen.train, chosen.seed, out, chosen.text, identity, quiet))
    if not is_main():
        return Coded(outcome, out / "codec", None)
    found = examine(codec.cpu().eval(), [one.test for one in data.every], data.on)
    sections = [*found.sections, *losses(out), texts(chosen, chosen.data.cards)]
    write(f"Codes of {' and '.join(codec.modalities)}", sections, out, chosen)
    write_json(out / "health.json", found.health.json)
    if not found.health.ok:
        shutil.rmtree(out / "codec", ignore_errors=True)
        raise Unhealthy(chosen, found.health, out)
    codec.health = found.health
    return Coded(outcome, write_folder(out / "codec", codec.save), found.health)


def gather(recipe: TokenizeRecipe, limit: int | None = None) -> Corpora:
    """Read and prepare the corpus; what is held out is a part of its recordings, or else of each one's stretches."""
    store = open_store(recipe.data.store) if recipe.data.store else None
    raw = corpus(recipe.data, limit, store)
    first = of_one(recipe, recipe.codes.modality, raw, store)
    also = [of_one(first.recipe, modality, raw, store) for modality in recipe.codes.also]
    manifest = sum((one.manifest for one in also), first.manifest)
    on = said_of({one.train.modality: one.on for one in (first, *also)})
    return replace(first, on=on, manifest=manifest, also=also)


def said_of(on: Mapping[str, str]) -> str:
    """What the windows of each instrument are, once where all are the same."""
    several = dict.fromkeys(on.values())
    return next(iter(several)) if len(several) == 1 else "; ".join(map(": ".join, on.items()))


def of_one(
    recipe: TokenizeRecipe,
    modality: str,
    raw: tuple[list[Recording], list[Recording]],
    store: Store | None,
) -> Corpora:
    """The same of one instrument. Raises `DataError` where no recording holds it."""
    kept, out = ([one for one in some if modality in one.signals] for some in raw)
    if not kept:
        raise DataError(f"the cards {', '.join(recipe.data.cards)} hold no {modality} recording to train on")
    done = store.done(recipe.prepare, modality) if store else 0
    steps = [*recipe.prepare[:done], *fit(recipe.prepare[done:], kept, modality)]
    recipe = recipe.model_copy(update={"prepare": steps})
    manifest = Manifest.of(kept, modality, with_labels=False)
    whole = stream(kept, recipe, modality, done)
    if out:
        held_out = stream(out, recipe, modality, done)
        return Corpora(recipe, whole, held_out, "held-out recordings", manifest)
    train_, test = kept_back(whole, EVERY)
    if test is None:
        return Corpora(recipe, whole, whole, SEEN, manifest)
    return Corpora(recipe, train_, test, LATER, manifest)


def learner(data: Corpora) -> Codec:
    """The untrained codec of the recipe's seed, its codes where the untrained network's vectors are."""
    seed = data.recipe.seed
    codec = Codec.fresh(data.recipe, data.train, seed)
    codec.manifest = data.manifest
    codec.eval()
    with torch.no_grad():
        batches = [batch for one in data.every for batch in sample(one.train, seed)]
        rows = torch.cat([codec.rows(*codec.held(batch)) for batch in batches])
    codec.patches.fit(rows, torch.Generator().manual_seed(entropy(seed, 3)))
    return codec.train()


@dataclass(frozen=True)
class Examined:
    """How a codec's codes are used on some windows, what they cost and say, and the pictures of it."""

    health: Health
    rates: list[dict[str, Any]]
    sections: list[Section]

    @property
    def json(self) -> dict[str, Any]:
        """What `tokenize inspect --json` prints."""
        return {**self.health.json, "rate_distortion": self.rates}


def inspect(
    run: str | Path, cards: Sequence[str] = (), out: Path | None = None, limit: int | None = None
) -> Examined:
    """Look at a codec, whether it passed or not, on its recipe's held-out recordings or on these cards; write the report."""
    from brainfm.jobs.reporting import losses, texts, write

    codec = Codec.load(run, unfinished=True)
    test, on = looked_at(codec, cards, limit)
    found = examine(codec, test, on)
    shown = [*found.sections, *losses(Path(run)), texts(codec.recipe, cards or codec.recipe.data.cards)]
    write(f"Codes of {' and '.join(codec.modalities)}", shown, out or Path(run) / "inspect", codec.recipe)
    return found


def looked_at(codec: Codec, cards: Sequence[str], limit: int | None) -> tuple[list[Stream], str]:
    """The windows to look at, and what they are: of the cards' recordings those that were not trained on, if there are any."""
    if not cards:
        data = gather(codec.recipe, limit)
        return [one.test for one in data.every], data.on
    every = [one for name in cards for one in DataCard.load(name).recordings(limit)]
    streams, on = [], {}
    for modality in codec.modalities:
        recordings = [one for one in every if modality in one.signals]
        seen = [codec.manifest.verdict(one, modality).startswith("seen") for one in recordings]
        fresh = [one for one, was in zip(recordings, seen, strict=True) if not was]
        if recordings:
            streams.append(stream(fresh or recordings, codec.recipe, modality))
            on[modality] = (
                f"{len(fresh)} recordings of {', '.join(cards)}"
                if fresh
                else f"{', '.join(cards)}, trained on"
            )
    if not streams:
        modalities = " or ".join(codec.modalities)
        raise DataError(f"the cards {', '.join(cards)} hold no {modalities} recording to look at")
    return streams, said_of(on)


def examine(codec: Codec, tests: Sequence[Stream], on: str) -> Examined:
    """Count the codes of the windows of streams, compare what they say with what was there, and draw it."""
    batches = [test.batch(rows) for test in tests for rows in pieces(test)]
    measured = measure(codec, batches)
    part = codec.recipe.codes
    health = Health(
        tuple(Usage.of(counts) for counts in measured.counts),
        tokens=int(measured.counts[0].sum()),
        correlation=measured.correlation,
        spectral_error=measured.spectral_error,
        bits_per_second=measured.rows_per_sensor * capacity(codec.sizes, codec.recipe.tokenizer.seconds),
        threshold=part.usage,
        on=on,
    )
    health = replace(health, advice=advice(health, part.quantizer.of_size))
    rates = rate_distortion(codec, batches, measured)
    return Examined(health, rates, sections(codec, batches, measured, health, rates))


def pieces(stream_: Stream, batch: int = 32) -> Iterator[NDArray[np.int64]]:
    """Evenly spaced windows of a stream, `LOOKED_AT` at most and one of each layout at least, in batches."""
    share = min(1.0, LOOKED_AT / len(stream_.windows))
    for rows in stream_.layouts:
        chosen = rows[np.linspace(0, len(rows) - 1, max(1, round(share * len(rows)))).round().astype(int)]
        yield from np.array_split(chosen, -(-len(chosen) // batch))


@dataclass(frozen=True)
class Measured:
    """Numbers of a codec on some windows: `counts` of each quantizer's codes, (code,), the rest as in `Health`."""

    counts: list[NDArray[np.int64]]
    correlation: float
    spectral_error: float
    constant: int
    """Rows of windows whose signal is constant: they have no correlation and no spectrum."""
    rows: int
    rows_per_sensor: float


def measure(codec: Codec, batches: Sequence[Batch], say: Say | None = None) -> Measured:
    """Reconstruct windows by their codes, `say` giving the vectors of codes otherwise than the quantizer does."""
    counts = [np.zeros(size, np.int64) for size in codec.sizes]
    r, error, sensors, coded = [], [], 0, 0
    for batch in batches:
        one = codec.reconstruct(batch, say)
        held, told = one.held.numpy(), one.told.numpy()
        r.append(correlations(held, told))
        error.append(spectral_errors(held, told, one.spectra))
        sensors += int(batch.valid.sum())
        coded += len(one.codes)
        for count, codes in zip(counts, one.codes.flatten(0, 1).T.numpy(), strict=True):
            count += np.bincount(codes, minlength=len(count))
    every = np.concatenate(r)
    if np.isnan(every).all():
        raise DataError(f"the {codec.modality} windows to look at are all constant: there is nothing to say")
    return Measured(
        counts,
        float(np.nanmean(every)),
        float(np.nanmean(np.concatenate(error))),
        int(np.isnan(every).sum()),
        len(every),
        coded / max(1, sensors),
    )


def rate_distortion(codec: Codec, batches: Sequence[Batch], whole: Measured) -> list[dict[str, Any]]:
    """What fewer bits would say, fewest first: the first quantizers alone, or codes merged with their neighbours."""
    seconds, sizes = codec.recipe.tokenizer.seconds, codec.sizes
    found = []
    for words, kept, say in coarser(codec, whole.counts):
        one = measure(codec, batches, say)
        bits = whole.rows_per_sensor * capacity(kept, seconds)
        found.append({"by": words, "bits_per_second": bits} | errors(one))
    words = f"all {len(sizes)} quantizers" if len(sizes) > 1 else f"{sizes[0]} codes"
    bits = whole.rows_per_sensor * capacity(sizes, seconds)
    found.append({"by": words, "bits_per_second": bits} | errors(whole))
    return sorted(found, key=lambda one: float(one["bits_per_second"]))


def errors(one: Measured) -> dict[str, float]:
    """What is lost."""
    return {"correlation": one.correlation, "spectral_error": one.spectral_error}


def coarser(codec: Codec, counts: Sequence[NDArray[np.int64]]) -> Iterator[tuple[str, tuple[int, ...], Say]]:
    """Ways to say less: their name, the sizes that they need, and the vectors that they give codes."""
    sizes = codec.sizes
    for depth in range(1, len(sizes)):
        said = "the first quantizer" if depth == 1 else f"the first {depth} quantizers"
        yield said, sizes[:depth], partial(first, codec, depth)
    if len(sizes) > 1:
        return
    with torch.no_grad():
        table = codec.patches.quantizer.lookup(torch.arange(sizes[0]).unsqueeze(-1))
    size = 2 ** int(np.log2(sizes[0] - 1))
    while size >= 4:
        yield f"merged into {size} codes", (size,), partial(among, merged(table, counts[0], size))
        size //= 4


def first(codec: Codec, depth: int, codes: torch.Tensor) -> torch.Tensor:
    """What the first `depth` quantizers say."""
    said: torch.Tensor = codec.patches.quantizer.lookup(codes[..., :depth])
    return said


def among(vectors: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """The vector of each code of the only quantizer."""
    return vectors[codes[..., 0]]


def merged(table: torch.Tensor, counts: NDArray[np.int64], size: int) -> torch.Tensor:
    """The vector of each code after k-means of them all into `size`, by how often each occurs."""
    from sklearn.cluster import KMeans

    weight = np.maximum(counts, 1e-3)
    found = KMeans(size, n_init=1, random_state=0).fit(table.numpy(), sample_weight=weight)
    return torch.from_numpy(found.cluster_centers_[found.labels_].astype(np.float32))


def sections(
    codec: Codec, batches: Sequence[Batch], measured: Measured, health: Health, rates: list[dict[str, Any]]
) -> list[Section]:
    """The page: what the codes say of a window, what fewer would say, and how they are used."""
    one, sfreq = codec.reconstruct(batches[0]), codec.recipe.tokenizer.sfreq
    quality = np.nan_to_num(correlations(one.held.numpy(), one.told.numpy()), nan=-2)
    order = [int(row) for row in np.argsort(-quality) if quality[row] > -2] or [0]
    shown = [order[i] for i in np.unique(np.linspace(0, len(order) - 1, 4).round().astype(int))]
    rows = [
        (f"row {row + 1}", one.held[row].double().numpy(), one.told[row].double().numpy()) for row in shown
    ]
    drawn = [
        code_pictures.amplitudes(*row, codec.recipe.tokenizer.seconds, sfreq)
        if one.spectra
        else code_pictures.reconstruction(*row, sfreq)
        for row in rows
    ]
    constant = f" {measured.constant} of {measured.rows} rows are constant and are in neither mean." * bool(
        measured.constant
    )
    said = (
        f"Correlation {health.correlation:.3f} and spectral error {health.spectral_error:.3f} at "
        f"{health.bits_per_second:.1f} bits a second and sensor, on {health.on}.{constant} "
        f"Grey: {'the amplitudes' if one.spectra else 'the signal'} as prepared, "
        "blue: what its codes say; rows of a batch from the best to the worst said."
    )
    table = [
        {
            "by": row["by"],
            "bits/s and sensor": f"{row['bits_per_second']:.1f}",
            "correlation": f"{row['correlation']:.3f}",
            "spectral error": f"{row['spectral_error']:.3f}",
        }
        for row in rates
    ]
    used = [
        {
            "quantizer": str(number + 1),
            "codes": str(one_.codes),
            "used": f"{one_.used} ({one_.usage:.0%})",
            "dead": str(one_.dead),
            "perplexity": f"{one_.perplexity:.0f}",
        }
        for number, one_ in enumerate(health.quantizers)
    ]
    return [
        Figures("What the codes say", drawn, said, numbers=health.json),
        Figures("Rate and distortion", [code_pictures.rate_distortion(rates)], "", table, {"points": rates}),
        Figures("Which codes are used", [code_pictures.usage(measured.counts)], f"{health.advice}.", used),
    ]
