"""Prepare: cards → a store of prepared recordings, in parallel; killed anywhere, it goes on where it was."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

from brainfm import folders
from brainfm.data.cards import DataCard
from brainfm.data.footprint import footprint
from brainfm.data.modalities import modality as find_modality
from brainfm.data.preprocess import Step
from brainfm.data.readers import Entry
from brainfm.data.store import Store, is_remote, manifest, words
from brainfm.data.store.codec import Held
from brainfm.data.store.table import NAME, Row, digest, write
from brainfm.data.store.writing import PASSING, RECEIPTS, Order, write_recording
from brainfm.errors import DataError
from brainfm.files import settle
from brainfm.progress import bar

LOCK = ".lock"


@dataclass(frozen=True)
class Task:
    """One recording to prepare: its card and entry, and the key that its files will carry."""

    card: DataCard
    entry: Entry
    name: str
    key: str


@dataclass(frozen=True)
class Prepared:
    """What a store holds now, and what this run added."""

    store: Store
    new: int
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        """What `data prepare --json` prints."""
        rows = self.store.rows
        signals = [signal for row in rows for signal in row.signals]
        return {
            "store": self.store.root,
            "cards": self.store.cards,
            "recordings": len(rows),
            "prepared": self.new,
            "hours": sum(signal.seconds for signal in signals) / 3600,
            "bytes": sum(size for row in rows for _, size, _ in row.files),
            "largest_error": max((signal.error for signal in signals), default=0.0),
            "seconds": self.seconds,
        }


def prepare(
    cards: Sequence[str],
    tokenizers: Sequence[str],
    out: Path,
    held: Held = "int16",
    jobs: int | None = None,
    limit: int | None = None,
    quiet: bool = False,
) -> Prepared:
    """Prepare the recordings of these cards into the store at `out`, keeping what is there; `limit` takes that many of each.

    `tokenizers` name files of tokenizers/ whose `prepare` is done, each for its card's modality or as `modality=name`; without
    one the signal is stored as it is read. joblib runs `jobs` at a time, on the backend that `joblib.parallel_config` chose.
    """
    started = monotonic()
    if is_remote(str(out)):
        raise DataError(f"{out}: prepare into a folder, then copy it there whole, manifest.parquet last")
    loaded = [DataCard.load(name) for name in cards]
    order = Order(chosen_steps(tokenizers, loaded), held)
    every = [tasks_of(card, order) for card in loaded]
    tasks = [task for of_card in every for task in of_card[:limit]]
    check_free(out)
    with locked(out):
        known = rows_at(out, order)
        todo = [task for task in tasks if task.key not in known]
        done = dict(known)
        with bar("prepare", total=len(tasks), done=len(tasks) - len(todo), quiet=quiet) as tick:
            for row in in_parallel(todo, out, order, jobs):
                done[row.key] = row
                tick(row.source or row.key)
        again = {card.name for card in loaded}
        kept = [row for row in known.values() if row.card not in again]
        # beyond the limit, what was prepared before stays
        rows = [*kept, *(done[task.key] for of_card in every for task in of_card if task.key in done)]
        finish(out, rows, order)
    store = Store(str(out), rows, recipes(order.steps))
    return Prepared(store, len(todo), monotonic() - started)


def chosen_steps(tokenizers: Sequence[str], cards: Sequence[DataCard]) -> dict[str, list[Step]]:
    """The steps of each modality that is to be prepared, up to the first that learns from who is trained on."""
    from brainfm.recipe import SignalRecipe
    from brainfm.recipe_yaml import read_yaml

    modalities = list(dict.fromkeys(card.modality for card in cards))
    steps: dict[str, list[Step]] = {}
    for given in tokenizers:
        name, _, file = given.rpartition("=")
        if not name and len(modalities) > 1:
            raise DataError(
                f"the cards are of {' and '.join(modalities)}; say which --tokenizer is for which: {modalities[0]}={given}"
            )
        if name and not find_modality(name).of_brain:
            raise DataError(f"{name} is made of tracks, which a store keeps as they are; leave out {given}")
        path = folders.find("tokenizers", file, ".yaml")
        recipe = SignalRecipe.model_validate(read_yaml(path), context={"trust": True})
        until = next((at for at, step in enumerate(recipe.prepare) if step.learns), len(recipe.prepare))
        steps[name or modalities[0]] = list(recipe.prepare[:until])
    if missing := [name for name in modalities if steps and name not in steps]:
        raise DataError(f"no --tokenizer is given for {missing[0]}; add --tokenizer {missing[0]}=NAME")
    return steps or {name: [] for name in modalities}


def tasks_of(card: DataCard, order: Order) -> list[Task]:
    """A card's recordings with their keys: what decides the result is in them."""
    facts = card.model_dump(mode="json", include={"reader", "events", "modality"})
    listing = cache(lambda folder: [path for path in folder.iterdir() if path.is_file()])
    tasks = []
    for entry in card.entries():
        home = card.path if card.folder else card.home
        name = entry.path.relative_to(home).as_posix() if entry.path.is_absolute() else entry.path.as_posix()
        files = footprint(entry, facts, listing)
        place = [card.name, entry.subject, entry.session, entry.run, files]
        tasks.append(Task(card, entry, name, order.key({**facts, "place": place}, name)))
    return tasks


def in_parallel(tasks: Sequence[Task], out: Path, order: Order, jobs: int | None) -> Iterator[Row]:
    """The rows of these tasks as they are done."""
    from joblib import Parallel, delayed

    if not tasks:
        return
    work = [delayed(do)(task, out, order) for task in tasks]
    try:
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(work)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that prepared recordings was killed, most often for want of memory; "
            "start again with fewer --jobs, what is done is kept"
        ) from error


def do(task: Task, out: Path, order: Order) -> Row:
    """Read and prepare one recording, in whatever process."""
    return write_recording(out, order, task.card.read(task.entry), task.name, task.key)


def recipes(steps: Mapping[str, Sequence[Step]]) -> dict[str, list[dict[str, Any]]]:
    """Steps as recipes write them."""
    return {name: [step.model_dump(mode="json") for step in these] for name, these in steps.items()}


def rows_at(out: Path, order: Order) -> dict[str, Row]:
    """What is done already, by key: the rows of the manifest, and the receipts of a run that was killed.

    Raises `DataError` where the store was prepared otherwise. A row whose files are not all there counts as not done.
    """
    rows: list[Row] = []
    if (out / NAME).exists():
        held, about = manifest(str(out))
        rows = [Row.of(row) for row in held]
        agree(str(out), about, rows, order)
    for path in sorted((out / RECEIPTS).glob("*.json")):
        rows.append(Row.of(json.loads(path.read_text(encoding="utf-8"))))
    return {row.key: row for row in rows if all(is_whole(out / name, size) for name, size, _ in row.files)}


def is_whole(path: Path, size: int) -> bool:
    """Whether a file is there at its length; `brainfm data check` looks at every byte."""
    return path.is_file() and path.stat().st_size == size


def agree(where: str, about: Mapping[str, str], rows: Sequence[Row], order: Order) -> None:
    """Raise `DataError` where a store holds a modality that was prepared otherwise, or a manifest that is damaged."""
    there = json.loads(about["steps"])
    if digest(rows, there) != about["digest"]:
        raise DataError(f"{where}/{NAME} is damaged; remove {where} and prepare it again")
    for name, steps in recipes(order.steps).items():
        if name in there and there[name] != steps:
            raise DataError(
                f"{where} holds {name} prepared by {words(there[name])}, not by {words(steps)}; choose another --out"
            )


def finish(out: Path, rows: Sequence[Row], order: Order) -> None:
    """Write the manifest, which makes the rows a store; then remove what only the way there needed."""
    before: dict[str, Any] = {}
    if (out / NAME).exists():
        before = json.loads(manifest(str(out), ["card"])[1]["steps"])
    passing = out / PASSING / NAME
    write(rows, {**before, **recipes(order.steps)}, passing)
    settle(passing, out / NAME)
    sweep(out, {name for row in rows for name, _, _ in row.files})


def sweep(out: Path, named: set[str]) -> None:
    """Remove passing files, receipts, and recordings that the manifest does not name: those of older facts of a card."""
    for folder in (PASSING, RECEIPTS):
        shutil.rmtree(out / folder, ignore_errors=True)
    for name in {name.partition("/")[0] for name in named}:
        for path in (out / name).iterdir():
            if path.suffix in SUFFIXES and f"{name}/{path.name}" not in named:
                path.unlink()


SUFFIXES = {".int16", ".float16", ".spikes", ".tracks"}


def check_free(out: Path) -> None:
    """Raise `DataError` where the folder holds something else than a store, whole or begun."""
    if not out.exists() or (out / NAME).exists() or (out / RECEIPTS).exists():
        return
    if strange := sorted(path.name for path in out.iterdir() if path.name != LOCK):
        raise DataError(f"{out} holds {strange[0]} and no store; choose another --out, a new or empty folder")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The store for this process alone, with its working folders. Raises `DataError` where another prepares it."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / LOCK
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = path.exists() and path.stat().st_ino == file_number(file)
        except BlockingIOError:
            ours = False
        if not ours:
            raise DataError(
                f"{out} is being prepared by another process; wait for it, or choose another --out"
            )
        shutil.rmtree(out / PASSING, ignore_errors=True)  # what a killed run left half done
        for folder in (PASSING, RECEIPTS):
            (out / folder).mkdir(exist_ok=True)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def file_number(file: Any) -> int:
    """The number of an open file, which its path may meanwhile not lead to."""
    return os.fstat(file.fileno()).st_ino
