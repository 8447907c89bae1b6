"""A first data card, written by looking at files: facts are counted, what people know is left open."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainfm.data.bids import DESCRIPTION, FORMATS, KEYS, named, sidecar
from brainfm.data.events import EventSource, attach_events, bids_path, stem
from brainfm.data.fif import recordings_among
from brainfm.data.positions import canonical
from brainfm.data.readers import Entry, Reader
from brainfm.data.readers.bids import FOLDER, Bids, OnError
from brainfm.data.readers.mne_file import MneFile
from brainfm.data.recording import Recording
from brainfm.data.recordings import LogLine, line_of
from brainfm.data.splits import strictest
from brainfm.errors import DataError
from brainfm.part import Settings

SUFFIXES = (".edf", ".bdf", ".gdf", ".vhdr", ".set", ".fif", ".fif.gz", ".cnt", ".mff")
"""Formats that `mne_file` reads, the likeliest first."""

LISTED = 100
"""How many sensors the text names."""

Namer = Callable[[str], str | None]


@dataclass(frozen=True)
class Look:
    """What was found: the pattern of the files, how to read them, and where their events are.

    `said` is what a dataset_description.json says, `more` are lines for the text.
    """

    files: str
    modality: str
    reader: Reader
    events: EventSource | None
    entries: list[Entry]
    recordings: list[Recording]
    said: Mapping[str, Any] = field(default_factory=dict)
    more: tuple[str, ...] = ()

    @property
    def log(self) -> list[LogLine]:
        """What was repaired."""
        return [line_of(one, said) for one in self.recordings for said in one.repairs]


def new_card(folder: Path, on_error: OnError | None = None) -> str:
    """The text of a card for the recordings under `folder`, as `look_at` finds them; `check` finds no fault with
    its facts."""
    return written(folder, look_at(folder, on_error))


def look_at(folder: Path, on_error: OnError | None = None) -> Look:
    """What a folder holds, every recording read once.

    Knows BIDS datasets (`on_error` as for `brainfm.read`), names as BIDS has them, names such as Subject03_1.edf
    or S001R02.edf, and a folder per subject. MEG's flat coils and flat contacts are left out with a note. Raises
    `DataError` where there is no file to read, or where the files can't be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the one that holds the recordings")
    if (folder / DESCRIPTION).is_file():
        return look_at_dataset(folder, on_error or "raise")
    if on_error is not None:
        raise DataError(f"{folder} is no BIDS dataset (no {DESCRIPTION}), to which alone on_error applies")
    suffix, names = recordings_in(folder)
    files = pattern(names, suffix)
    entries = MneFile().find(folder, files)
    modality = instrument(entries[0].path)
    reader: Reader = MneFile(modalities=[modality], on_bad="drop")
    if modality == "eeg":
        reader = reader_for(entries[0].path, MneFile.model_validate)
    events = events_of(entries)
    recordings = [read(entry, reader, events) for entry in entries]
    return Look(files, modality, reader, events, entries, recordings)


def look_at_dataset(folder: Path, on_error: OnError) -> Look:
    """What a BIDS dataset holds of the kind of recording that it has most of, read as `brainfm.read` reads it."""
    every = Bids(on_error=on_error).find(folder, "")
    datatypes = Counter(entry.path.parent.name for entry in every)
    datatype = max(FORMATS, key=lambda one: datatypes[one])
    entries = [entry for entry in every if entry.path.parent.name == datatype]
    if datatype == "eeg":
        reader = reader_for(
            entries[0].path,
            lambda settings: Bids(datatype=datatype, on_error=on_error, reader=dict(settings)),
        )
    else:
        reader = Bids(datatype=datatype, on_error=on_error, on_bad="drop")
    recordings = [reader.read(entry.path) for entry in entries]
    held = recordings[0].signals
    modality = next(
        name for name in (*FOLDER, *held) if name in held and FOLDER.get(name, datatype) == datatype
    )
    others = [f"{count} of {name}" for name, count in datatypes.items() if name != datatype]
    mended = sorted({mended for recording in recordings for mended in recording.repairs})
    more = [
        f"Entities: {values_of(entries)}.",
        *([f"The dataset also holds {', '.join(others)}: each needs a card of its own."] if others else []),
        *([f"Repaired: {'; '.join(mended)}."] if mended else []),
    ]
    said = sidecar([folder / DESCRIPTION])
    return Look("", modality, reader, None, entries, recordings, said, tuple(more))


def values_of(entries: Sequence[Entry]) -> str:
    """The values of every entity in the names of recordings, with how many have each."""
    pieces = []
    for entity, key in KEYS.items():
        counted = Counter(named(entry.path).entities.get(key) for entry in entries)
        values = [
            f"{value} ({count})" for value, count in sorted(counted.items(), key=str) if value is not None
        ]
        if values:
            pieces.append(f"{entity} {', '.join(values[:20])}{', …' if len(values) > 20 else ''}")
    return "; ".join(pieces)


def recordings_in(folder: Path) -> tuple[str, list[str]]:
    """The suffix of most recordings, and their paths inside the folder."""
    found = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]
    own = {path.relative_to(folder).as_posix() for path in recordings_among(folder.rglob("*"))}
    shown = [name for name in found if name in own and not name.startswith(".") and "/." not in name]
    by_suffix = {suffix: [name for name in shown if name.lower().endswith(suffix)] for suffix in SUFFIXES}
    suffix = max(SUFFIXES, key=lambda one: len(by_suffix[one]))
    if not by_suffix[suffix]:
        there = Counter(Path(name).suffix or "no suffix" for name in found).most_common(4)
        listed = ", ".join(f"{count} × {kind}" for kind, count in there) or "nothing"
        raise DataError(
            f"{folder} holds no {', '.join(SUFFIXES)} but {listed}; for tables, arrays "
            "and archives copy the card of a set with that reader (table, matlab_epochs, zip_segments)"
        )
    return by_suffix[suffix][0][-len(suffix) :], by_suffix[suffix]


def pattern(names: Sequence[str], suffix: str) -> str:
    """The `files` pattern that fits every name, with subject, session and run where the names tell them."""
    for one in (bids, numbered, foldered):
        made = {one(name.removesuffix(suffix)) for name in names}
        if len(made) == 1 and (only := made.pop()) is not None:
            return f"{only}{suffix}"
    return f"**/*{suffix}" if any("/" in name for name in names) else f"*{suffix}"


def bids(name: str) -> str | None:
    """sub-01/ses-02/eeg/sub-01_ses-02_task-rest_run-1_eeg, as far as its entities are there."""
    if not re.search(r"(^|/)sub-[^_/]+_", name):
        return None
    for entity, word in (("sub", "subject"), ("ses", "session"), ("run", "run")):
        name = re.sub(rf"(^|[_/]){entity}-[^_/]+", rf"\1{entity}-{{{word}}}", name)
    # what is left of the entities (task, acquisition) may differ from file to file
    return re.sub(r"_(task|acq|rec|desc|space)-[^_/]+", r"_\1-*", name)


def numbered(name: str) -> str | None:
    """Subject03_1, sub03_ses2_run1, S001R02, with or without folders of the same numbers."""
    folder, slash, last = name.rpartition("/")
    words = r"(?P<a>(?:subject|subj|sub|s|p|patient|participant)[-_]?)(?P<subject>\d+)"
    session = r"(?:(?P<b>[-_]?(?:session|sess|ses|s)[-_]?)(?P<session>\d+))?"
    run = r"(?:(?P<c>[-_]?(?:run|r|[-_])[-_]?)(?P<run>\d+))?"
    match = re.fullmatch(f"{words}{session}{run}(?P<rest>[-_][a-z_-]*)?", last, re.IGNORECASE)
    if match is None:
        return None
    fields = [match["a"], "{subject}"]
    fields += [match["b"], "{session}"] if match["session"] else []
    fields += [match["c"], "{run}"] if match["run"] else []
    return re.sub(r"\d+", "*", folder) + slash + "".join(fields) + (match["rest"] or "")


def foldered(name: str) -> str | None:
    """subject01/anything: the first folder with a number names the subject, a second one the session."""
    *folders, _ = name.split("/")
    fields = iter(("{subject}", "{session}"))
    made = "/".join(re.sub(r"\d+$", lambda _: next(fields, "*"), folder) for folder in folders)
    return f"{made}/*" if "{subject}" in made else None


def instrument(path: Path) -> str:
    """The modality that the first file is about: where it holds several, what took the bigger machine."""
    found = MneFile(positions="none").open(path).signals
    return next(name for name in ("meg", "seeg", "eeg") if name in found)


def reader_for(path: Path, make: Callable[[Mapping[str, Any]], Reader]) -> Reader:
    """A reader that the first file of EEG passes the gate with; `make` turns settings of `mne_file` into one.

    Sensors without a known position are dropped where they are few, else positions are done without; a unit
    that alone makes the amplitudes plausible is named. The card shows both, for its author to check. Raises
    the gate's `DataError` where nothing helps.
    """
    names = make({"positions": "none"}).open(path).signal("eeg").sensors.name
    unknown = [name for name in names if canonical(name) is None]
    few = len(unknown) <= len(names) / 2
    placed: list[dict[str, Any]] = [{}, {"drop": unknown} if few else {"positions": "none"}]
    scaled = [{**settings, "unit": unit} for unit in ("mV", "µV") for settings in placed]
    refusals: list[DataError] = []
    for settings in [*placed, *scaled]:
        reader = make(settings)
        try:
            reader.read(path)
        except DataError as error:
            refusals.append(error)
        else:
            return reader
    raise refusals[1]


def events_of(entries: Sequence[Entry]) -> EventSource | None:
    """A BIDS table or an event list of MNE where every recording has one, else what the files hold."""
    if all(bids_path(entry.path).exists() for entry in entries):
        return EventSource(source="bids")
    if all((entry.path.parent / f"{stem(entry.path)}-eve.fif").exists() for entry in entries):
        return EventSource(source="file", file="{stem}-eve.fif")
    return None


def read(entry: Entry, reader: Reader, events: EventSource | None) -> Recording:
    """One recording with its events. Raises `DataError` in one sentence."""
    recording = reader.read(entry.path)
    return attach_events(recording, events, entry, reader) if events else recording


def written(folder: Path, look: Look) -> str:
    """The card's text."""
    signals = [recording.signal(look.modality) for recording in look.recordings]
    sensors, rates = {len(signal.sensors) for signal in signals}, {signal.sfreq for signal in signals}
    labels = Counter(label for recording in look.recordings for label in recording.events.label)
    lines = [
        "---",
        f"title: {stated(look, 'Name') or quoted(folder.name)} # FILL IN: what was recorded",
        f"modality: {look.modality}",
        f"licence: {stated(look, 'License') or 'FILL IN'} # CC0-1.0, CC-BY-4.0, ... or: none stated, local evaluation only",
        f"citation: {stated(look, 'HowToAcknowledge') or stated(look, 'Authors') or 'FILL IN'}",
        f"source: {stated(look, 'DatasetDOI') or 'FILL IN'} # a web address or a DOI",
        f"folder: {quoted(str(folder.resolve()))} # or relative to BRAINFM_DATA",
        f"files: {quoted(look.files)} # subject, session and run are taken from the names",
        f"reader: {as_yaml(look.reader)}{doubts(look.reader)}",
        *([f"events: {as_yaml(look.events)}"] if look.events else []),
        *task(look, labels),
        "facts:",
        f"  subjects: {len({entry.subject for entry in look.entries})}",
        f"  sessions: {len({(entry.subject, entry.session) for entry in look.entries})}",
        f"  recordings: {len(look.entries)}",
        f"  sensors: {sensors.pop() if len(sensors) == 1 else 'null # they differ'}",
        f"  sfreq: {float(rates.pop()) if len(rates) == 1 else 'null # they differ'}",
        "---",
        *prose(folder, look, labels),
    ]
    return "\n".join(lines) + "\n"


def stated(look: Look, key: str) -> str:
    """What a dataset_description.json says under a key, quoted; "" where it says nothing."""
    value = look.said.get(key) or ""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return quoted(" ".join(text.split())) if text.strip() else ""


def doubts(reader: Reader) -> str:
    """What the author should check about the reader, as a comment."""
    settings = reader.reader if isinstance(reader, Bids) else dict(reader)
    said = [
        *(["no position is known for what is dropped"] if settings.get("drop") else []),
        *(
            ["CHECK the unit: the file's own gives amplitudes that are not plausible"]
            if settings.get("unit")
            else []
        ),
    ]
    return f" # {'; '.join(said)}" if said else ""


def task(look: Look, labels: Counter[str]) -> list[str]:
    """A task to uncomment: the labels found, trials, the strictest split."""
    named = [Recording({}, subject=entry.subject, session=entry.session) for entry in look.entries]
    found = ", ".join(quoted(label) for label, _ in labels.most_common(8)) or "FILL IN, FILL IN"
    return [
        "# To decode, keep the labels that you want (counted below) and remove the # in front:",
        "# task:",
        f"#   labels: [{found}]",
        "#   window: {kind: trials, seconds: 2.0} # or {kind: sliding, seconds: 4.0} for states that last",
        f"#   split: {strictest(named)}",
        "#   metric: balanced_accuracy",
    ]


def prose(folder: Path, look: Look, labels: Counter[str]) -> list[str]:
    """The text under the facts: what was found, and what only a person can say."""
    seconds = sum(recording.signal(look.modality).seconds for recording in look.recordings)
    names = look.recordings[0].signal(look.modality).sensors.name
    counted = ", ".join(f"{label} ({count})" for label, count in labels.most_common(20)) or "none"
    notes = sorted({note for recording in look.recordings for note in recording.notes})
    return [
        "",
        f"# {folder.name}",
        "",
        "FILL IN: who did what, with which device, reference and filters.",
        "",
        f"Found: {len(look.entries)} recordings, {seconds / 60:.1f} minutes in all.",
        f"Sensors of the first: {', '.join(names[:LISTED])}{f' and {len(names) - LISTED} more' if len(names) > LISTED else ''}.",
        f"Events: {counted}.",
        *look.more,
        *([f"Notes of the reader: {'; '.join(notes)}."] if notes else []),
        "",
        "**Consent and licence.** FILL IN: what the people agreed to, and under which licence the files are.",
        "",
        "**Units and faults.** FILL IN: what a user must know. As read, the amplitudes are plausible.",
        "",
        "**Cite** FILL IN.",
    ]


def quoted(text: str) -> str:
    """A YAML string that reads back as it is."""
    return json.dumps(text, ensure_ascii=False)


def as_yaml(settings: Settings) -> str:
    """What differs from the defaults, in one line."""
    return json.dumps(settings.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
