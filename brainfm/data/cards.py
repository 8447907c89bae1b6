"""Data cards: one Markdown file per dataset.

The front matter holds the facts that the loader uses, the prose what people must know: consent, known faults,
how to cite. A card without a reader is a catalogue card: it says what a public set is, who may have it and how to
get it, and takes a `reader`, `files` and `task` once somebody has it.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from brainfm import folders
from brainfm.baselines import Baseline
from brainfm.data.events import EventSource, attach_events, within
from brainfm.data.fetchers import Fetcher
from brainfm.data.leaks import Split
from brainfm.data.provenance import Access, Overlap, Verified
from brainfm.data.readers import Entry, Reader
from brainfm.data.recording import Recording
from brainfm.data.viewing import Viewing
from brainfm.data.windows import Cut, Windows, require_classes
from brainfm.errors import DataError, RecipeError
from brainfm.part import Settings, explain

FOLDER = "data_cards"
SUFFIX = ".md"

Metric = Literal["accuracy", "balanced_accuracy", "kappa", "weighted_f1", "auroc"]


class Task(Settings):
    """What is decoded: labels, windows, who is held out (`folds`, `gap`: see `splits.split`), the score."""

    labels: list[str] = Field(min_length=2)
    window: SerializeAsAny[Cut]
    split: Split
    metric: Metric
    folds: int | None = Field(default=None, ge=2)
    gap: float | None = Field(default=None, ge=0)


class Facts(Settings):
    """What `check` counts again. `sensors` and `sfreq` hold for every recording; None where they differ.

    What a card leaves out is not known.
    """

    subjects: int | None = None
    sessions: int | None = None
    recordings: int | None = None
    sensors: int | None = None
    sfreq: float | None = None
    hours: float | None = None
    """Of signal, of all recordings together, to the digits that the card gives."""
    windows: dict[str, int] = Field(default={})
    """Windows per label."""


PROVENANCE = frozenset(
    {
        "access",
        "consent",
        "use",
        "species",
        "device",
        "reference",
        "unit",
        "paradigm",
        "fetch",
        "overlaps",
        "verified",
    }
)
"""What is told of a set beside how it is read: it decides no window."""


class DataCard(Settings):
    """A dataset: where it is, how it is read, what is decoded. `name`, `prose`, `home` come from its file."""

    title: str
    modality: str
    licence: str
    """An SPDX identifier, the owner's terms in words, or `none stated`."""
    citation: str
    source: str
    access: Access | None = None
    consent: str | None = None
    """What the subjects agreed to, and which board said so."""
    use: str | None = None
    """Limits on the use beyond the licence."""
    species: str | None = None
    device: str | None = None
    """The instrument and its sensors."""
    reference: str | None = None
    unit: str | None = None
    """Of the numbers on disk."""
    paradigm: str | None = None
    """What the subjects did, and what is labelled."""
    fetch: SerializeAsAny[Fetcher] | None = None
    overlaps: list[Overlap] = Field(default=[])
    verified: list[Verified] = Field(default=[])
    folder: str = ""
    files: str = ""
    reader: SerializeAsAny[Reader] | None = None
    viewing: SerializeAsAny[Viewing] | None = None
    """How published responses to pictures become tables of trials, for reconstruction."""
    events: EventSource | None = None
    task: Task | None = None
    baseline: SerializeAsAny[Baseline] | None = None
    facts: Facts | None = None
    name: str = Field(exclude=True)
    prose: str = Field(exclude=True)
    home: Path = Field(exclude=True)

    @classmethod
    def load(cls, name: str | Path, trust: Sequence[str] | bool = ()) -> Self:
        """The card of that name (a checkout's first, else the wheel's), or at that path to an .md file.

        `trust` allows parts from code outside brainfm. Raises `DataError` in one sentence.
        """
        try:
            path = folders.find(FOLDER, str(name), SUFFIX)
        except RecipeError as error:
            raise DataError(str(error)) from None
        facts, prose = front_matter(path.read_text(encoding="utf-8"), path)
        for key in ("name", "prose", "home"):
            if key in facts:
                raise DataError(f"{path}: {key} is not written into a card; its name is the file's")
        own = {"name": path.stem, "prose": prose, "home": path.parent.resolve()}
        try:
            return cls.model_validate({**facts, **own}, context={"trust": trust})
        except ValidationError as error:
            raise DataError(str(explain(error, path))) from None

    @model_validator(mode="after")
    def _verify_what_is_said(self) -> Self:
        """Refuse a source for a fact that the card does not state."""
        for name in (name for group in self.verified for name in group.facts):
            if name not in self.stated:
                known = ", ".join(sorted(self.stated))
                raise ValueError(f"verified: {name!r} is no fact that this card states; it states {known}")
        return self

    @property
    def stated(self) -> frozenset[str]:
        """The names of the facts that this card states, as `verified` names them: species, facts.subjects."""
        top = {name for name in ("licence", "citation", *PROVENANCE) if getattr(self, name)}
        inside = self.facts.model_dump(exclude_unset=True) if self.facts else {}
        return frozenset(top - {"verified"} | {f"facts.{name}" for name in inside})

    @property
    def simulated(self) -> bool:
        """Whether brainfm makes the recordings itself."""
        return self.reader is not None and not self.folder and not self.files

    @property
    def reading(self) -> Reader:
        """How the files are read. Raises `DataError` for a catalogue card."""
        if self.reader is None:
            raise DataError(
                f"{self.name} is a catalogue card: it tells of the set but not how its files are read; fetch them, and "
                "let `brainfm data new FOLDER` write a card for what came"
            )
        return self.reader

    @property
    def hash(self) -> str:
        """A hash of what decides which windows there are. The prose and where the set comes from may change freely."""
        decides = self.model_dump(mode="json", exclude=set(PROVENANCE))
        if self.viewing is None:  # so that cards written before there was any keep their hash
            del decides["viewing"]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> Path:
        """The dataset's folder. Raises `DataError` that says where it was looked for."""
        tried = [self.home / self.folder, data_root() / self.folder]
        for path in tried:
            if path.is_dir():
                return path
        places = " or ".join(str(path) for path in dict.fromkeys(tried))
        raise DataError(
            f"{self.name}: its folder is not at {places}; set BRAINFM_DATA to the folder that holds it"
        )

    def entries(self) -> list[Entry]:
        """The recordings that there are, unread. Raises `DataError` where there are none."""
        reader = self.reading
        # a simulated dataset has no files: its reader makes up its entries in any folder
        folder = self.path if self.folder else self.home
        return reader.find(folder, self.files)

    def recordings(self, limit: int | None = None, entries: Sequence[Entry] | None = None) -> list[Recording]:
        """All recordings, the first `limit`, or those of `entries`: past the gate, with events, named."""
        return [self.read(entry) for entry in (self.entries() if entries is None else entries)[:limit]]

    def read(self, entry: Entry) -> Recording:
        """One recording with its events and its place in the dataset. Raises `DataError` in one sentence."""
        reader, found = self.reading, self.reading.read(entry.path)
        events = self.events
        recording = within(found) if events is None else attach_events(found, events, entry, reader)
        recording.signal(self.modality)
        return replace(
            recording,
            dataset=self.name,
            subject=entry.subject or recording.subject,
            session=entry.session or recording.session,
            run=entry.run or recording.run,
        )

    def windows(self, recordings: Sequence[Recording]) -> Windows:
        """The task's labelled windows. Raises `DataError` without task or events, or with one class only."""
        if self.task is None:
            raise DataError(
                f"{self.name} has no task, only recordings; add `task:` to the card to decode from it"
            )
        windows = self.task.window(recordings, self.modality, self.task.labels)
        require_classes(windows)
        return windows


@dataclass(frozen=True)
class Problem:
    """A fact of a card that the files contradict."""

    field: str
    said: str
    found: str


def check(card: DataCard) -> list[Problem]:
    """Every fact counted again: what the card says and the files do not. Unreadable data are one problem."""
    return recount(card)[1]


def recount(card: DataCard) -> tuple[Facts | None, list[Problem]]:
    """The facts as counted (None: the data can't be read), and those that contradict the card.

    What a card does not say can't be wrong.
    """
    try:
        found = count(card, card.recordings())
    except DataError as error:
        return None, [Problem("recordings", "can be read", str(error))]
    said = card.facts.model_dump(exclude_unset=True) if card.facts else {}
    counted = found.model_dump()
    return found, [
        Problem(f"facts.{field}", str(value), str(counted[field]))
        for field, value in said.items()
        if not agree(field, value, counted[field])
    ]


def agree(field: str, said: Any, found: Any) -> bool:
    """Whether a fact is as counted; hours to the digits that the card gives."""
    if field != "hours" or said is None:
        return bool(said == found)
    digits = len(str(said).partition(".")[2])
    return abs(said - found) <= 0.51 * 10.0**-digits


def count(card: DataCard, recordings: Sequence[Recording]) -> Facts:
    """The facts as the files have them."""
    signals = [recording.signal(card.modality) for recording in recordings]
    sensors, rates = {len(signal.sensors) for signal in signals}, {signal.sfreq for signal in signals}
    return Facts(
        subjects=len({recording.subject for recording in recordings}),
        sessions=len({(recording.subject, recording.session) for recording in recordings}),
        recordings=len(recordings),
        sensors=sensors.pop() if len(sensors) == 1 else None,
        sfreq=float(rates.pop()) if len(rates) == 1 else None,
        hours=round(sum(signal.seconds for signal in signals) / 3600, 4),
        windows=card.windows(recordings).counts if card.task else {},
    )


def overlaps_with(card: DataCard, datasets: Iterable[str]) -> list[Overlap]:
    """What a card declares that it shares, and what the shipped cards among `datasets` declare that they share with it."""
    shipped = [DataCard.load(name) for name in sorted(set(datasets) & set(list_cards()) - {card.name})]
    theirs = [
        # `only` names recordings of their set, not of this one: which of this one are meant is not known
        one.model_copy(update={"card": other.name, "dataset": None, "only": []})
        for other in shipped
        for one in other.overlaps
        if one.other == card.name
    ]
    return [*card.overlaps, *theirs]


def list_cards() -> list[str]:
    """The names of the cards that brainfm ships, sorted."""
    return folders.names(FOLDER, SUFFIX)


def data_root() -> Path:
    """The folder of datasets: BRAINFM_DATA, else `../shared/data` beside a checkout, else `./data`."""
    if given := os.environ.get("BRAINFM_DATA"):
        return Path(given).expanduser()
    root = folders.checkout()
    beside = root.parent / "shared" / "data" if root else None
    return beside if beside and beside.is_dir() else Path("data")


def front_matter(text: str, where: Path) -> tuple[Mapping[str, Any], str]:
    """The YAML between two lines of `---`, and the prose after. Raises `DataError` with the line at fault."""
    start, _, rest = text.partition("---\n")
    matter, end, prose = rest.partition("\n---\n")
    if start.strip() or not end:
        raise DataError(f"{where}: a card begins with its facts in YAML between two lines of ---")
    try:
        facts = YAML(typ="safe", pure=True).load(matter)
    except (YAMLError, ValueError) as error:  # a ValueError: the 45th of a month
        raise DataError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(facts, dict):
        raise DataError(f"{where}: its front matter should be a mapping of keys to values")
    return facts, prose.strip()
