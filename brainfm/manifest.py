"""The manifest of what a model saw: who, which content, and a fingerprint of every stretch of signal.

It is written with every checkpoint, because old manifests cannot be mended later. Nothing here imports torch.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from brainfm.data.fingerprint import FEWEST, Fingerprint, fingerprint, seen
from brainfm.data.provenance import Overlap
from brainfm.data.recording import Recording
from brainfm.errors import CheckpointError
from brainfm.part import Settings

Spans = Sequence[tuple[float, float]]
Verdict = Literal["clean", "seen without labels", "seen with labels", "unknown"]


class Entry(Settings):
    """One recording that a model was trained on."""

    dataset: str
    subject: str
    session: str
    run: str
    content_hash: str
    seconds: float = Field(ge=0)
    with_labels: bool
    fingerprint: Fingerprint
    kept_out: list[list[float]] = []
    """Stretches, [start, stop] in seconds, that no window touched."""

    def spared(self, content_hash: str, windows: Spans) -> bool:
        """Whether it is known that none of these stretches of a recording was seen, though others of it were."""
        if not self.kept_out or not windows or content_hash != self.content_hash:
            return False
        tiny = 1e-6  # a stretch was written in decimals
        return all(
            any(a - tiny <= start and stop <= b + tiny for a, b in self.kept_out) for start, stop in windows
        )

    def is_of(self, recording: Recording) -> bool:
        """Whether a recording is this very content; one put together by hand has no hash to tell."""
        return bool(recording.content_hash) and self.content_hash == recording.content_hash

    def is_called(self, recording: Recording) -> bool:
        """Whether a recording has this place in this dataset, whatever has since been done to its signal."""
        place = (recording.dataset, recording.subject, recording.session, recording.run)
        named = bool(self.dataset and (self.subject or self.session or self.run))
        return named and place == (self.dataset, self.subject, self.session, self.run)

    @property
    def name(self) -> str:
        """The recording's place in its dataset."""
        return "/".join((self.dataset, self.subject, self.session, self.run))


class Manifest(Settings):
    """Everything a model was trained on, in order."""

    entries: list[Entry] = []

    @classmethod
    def of(cls, recordings: Iterable[Recording], modality: str, with_labels: bool) -> "Manifest":
        """The manifest of raw recordings, before any preparation."""
        return cls(entries=[_entry(recording, modality, with_labels) for recording in recordings])

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read a manifest. Raises `CheckpointError` where it is not one: what a model saw must not be guessed."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            raise CheckpointError(f"{path} is not a manifest that this version of brainfm can read") from None

    @property
    def text(self) -> str:
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"))

    @property
    def digest(self) -> str:
        """A hash of which recordings these are, in order, and whether their labels were seen."""
        seen = [(entry.content_hash, entry.name, entry.with_labels, entry.kept_out) for entry in self.entries]
        return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:12]

    def __add__(self, other: "Manifest") -> "Manifest":
        return Manifest(entries=[*self.entries, *other.entries])

    def verdict(self, recording: Recording, modality: str, windows: Spans = ()) -> Verdict:
        """Whether this raw recording, or these `windows` of it (start, stop), was in the training data, under whatever name.

        It was if its content is known, if one of that name in that dataset was, or if its fingerprint is found again; of several
        such entries the worst counts.
        "unknown" where nothing is recorded of the training data, or where the signal comes in pieces too short for a
        fingerprint, so that only an exact copy could be found.
        """
        if not self.entries:
            return "unknown"
        found = self._matches(recording, modality, windows)
        if matches := [one for one in found if not one.spared(recording.content_hash, windows)]:
            return (
                "seen with labels" if any(entry.with_labels for entry in matches) else "seen without labels"
            )
        if found:
            return "clean"  # held out by its place in a known recording
        return "clean" if comparable(fingerprint_of(recording, modality)) else "unknown"

    def saw_subject(self, recording: Recording) -> bool:
        """Whether another recording of this subject of this dataset was in the training data."""
        return any(
            (entry.dataset, entry.subject) == (recording.dataset, recording.subject) for entry in self.entries
        )

    def shared(self, recording: Recording, overlaps: Iterable[Overlap]) -> Overlap | None:
        """The first of the declared overlaps by which the training data tell of this recording, though it is not in them."""
        test = (recording.subject, recording.session)
        for overlap in overlaps:
            trained = [(one.subject, one.session) for one in self.entries if one.dataset == overlap.other]
            if overlap.concerns(*test) and any(overlap.seen(test, place) for place in trained):
                return overlap
        return None

    @property
    def datasets(self) -> frozenset[str]:
        """The names of the datasets that were trained on."""
        return frozenset(entry.dataset for entry in self.entries)

    def _matches(self, recording: Recording, modality: str, windows: Spans) -> list[Entry]:
        """The entries of this content or of this name, and of the others those whose fingerprint is found again.

        One kind of match never hides another: a stretch that one entry kept out may have been seen in a copy saved again.
        Fingerprints, which take time, are compared only where what they find makes the verdict worse.
        """
        found: list[Entry] = []
        others: list[Entry] = []
        for entry in self.entries:
            (found if entry.is_of(recording) or entry.is_called(recording) else others).append(entry)
        exposed = [entry for entry in found if not entry.spared(recording.content_hash, windows)]
        if exposed:
            told = any(entry.with_labels for entry in exposed)
            others = [] if told else [entry for entry in others if entry.with_labels]
        if others:
            print_ = fingerprint_of(recording, modality)
            found += [entry for entry in others if seen(print_, entry.fingerprint)]
        return found


def _entry(recording: Recording, modality: str, with_labels: bool) -> Entry:
    return Entry(
        dataset=recording.dataset,
        subject=recording.subject,
        session=recording.session,
        run=recording.run,
        content_hash=recording.content_hash,
        seconds=recording.signal(modality).seconds,
        with_labels=with_labels,
        fingerprint=fingerprint_of(recording, modality),
        kept_out=[list(one) for one in recording.kept_out],
    )


def comparable(found: Fingerprint) -> bool:
    """Whether a fingerprint holds enough to be found again."""
    return sum(len(stretch) for stretch in found.stretches) >= FEWEST


def fingerprint_of(recording: Recording, modality: str) -> Fingerprint:
    """The fingerprint of a raw recording, computed once for each content."""
    key = (recording.content_hash, modality)
    if not recording.content_hash:  # one put together by hand has none
        return fingerprint(recording, modality)
    if key not in _known:
        _known[key] = fingerprint(recording, modality)
    return _known[key]


_known: dict[tuple[str, str], Fingerprint] = {}
