"""Whose a new file is. Contacts, voxels and neurons are known by their owner: a model that isn't told who it is knows none."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from brainfm.batch import Batch, number_of
from brainfm.data.modalities import owner, whose
from brainfm.data.recording import Recording
from brainfm.errors import DataError
from brainfm.layers.vocabulary import Knowing
from brainfm.model import BrainFM
from brainfm.model_config import DecoderSettings

LISTED = 8
"""People who are named in a sentence."""


@dataclass(frozen=True)
class Person:
    """Whose a file is, by the names of what the model was trained on; `stranger` for somebody whom it never met.

    A stranger's sensors are taken for average ones, which is an answer only of models that need not tell sensors apart. A decoder
    was trained on one dataset, an encoder perhaps on several: `dataset` says which. Raises `DataError` for a stranger's name.
    """

    subject: str = ""
    session: str = ""
    stranger: bool = False
    dataset: str = ""
    spelt: str = field(default="--{}", compare=False)
    """How whoever is told of a mistake has named these."""

    def __post_init__(self) -> None:
        if self.stranger and (self.subject or self.session or self.dataset):
            raise DataError(
                f"{self.options('stranger')} is somebody whom the model never met; leave it away, or "
                f"{self.options('subject', 'session')}"
            )

    def options(self, *names: str) -> str:
        """These of its fields, as they were given."""
        return " and ".join(self.spelt.format(name) for name in names)


UNTOLD = Person()


def owned(recording: Recording, settings: DecoderSettings, person: Person) -> Recording:
    """The recording as one of the decoder's card, where it is said whose it is.

    Where sensors are a person's own, a file that says itself whose it is need not be told. Raises `DataError` for a subject
    without a map of their own where the decoder has such maps, and for names that nothing depends on.
    """
    of = whose(recording, settings.modality)
    mapped = [] if settings.subjects is None else settings.subjects.ids
    needs_map = settings.subjects is not None or of == "all"
    if person.subject and needs_map and number_of(f"{settings.card}/{person.subject}") not in mapped:
        raise DataError(
            f"the decoder of {settings.card} has no map for subject {person.subject}; leave --subject away"
        )
    if person.session and of != "session":
        raise DataError(f"the sensors of {settings.card} are the same in every session; leave --session away")
    if person.stranger:
        return replace(recording, dataset="", subject="", session="")
    if of == "all" and not person.subject:
        return recording
    subject, session = person.subject or recording.subject, person.session or recording.session
    return replace(recording, dataset=settings.card, subject=subject, session=session)


def owned_by(recording: Recording, model: BrainFM, person: Person) -> Recording:
    """The recording as this person's, of the dataset that is named or else of the one in which the model met them.

    Raises `DataError` for a person whom it met nowhere, or in several datasets.
    """
    if person.stranger:
        return replace(recording, dataset="", subject="", session="")
    if person == UNTOLD:
        return recording
    subject, session = person.subject or recording.subject, person.session or recording.session
    dataset = person.dataset or dataset_of(model, subject, person)
    return replace(recording, dataset=dataset, subject=subject, session=session)


def dataset_of(model: BrainFM, subject: str, person: Person) -> str:
    """In which dataset a model met somebody of this name."""
    having = sorted({one.dataset for one in model.manifest.entries if one.subject == subject})
    if len(having) > 1:
        raise DataError(
            f"the checkpoint met a subject {subject} in {listed(having)}; say in which of them: {person.options('dataset')}"
        )
    if not having:
        raise DataError(
            f"the checkpoint met no subject {subject or 'without a name'}; leave {person.options('subject')} away, or name its "
            f"dataset too: {person.options('dataset')}"
        )
    return having[0]


def require_known(model: BrainFM, prepared: Recording, person: Person) -> list[str]:
    """What a user must know of sensors that a decoder has not met. Raises `DataError` where it has met others' alone.

    Only a tokenizer that knows sensors by name can have met any.
    """
    settings = model.decoder
    assert settings is not None  # who asks has a decoder
    knower = Knower(model, settings.modality, f"the decoder of {settings.card}", settings.card)
    said = prepared.subject and not person.subject and whose(prepared, settings.modality) != "all"
    itself = f"taken for {called(prepared, settings.modality)} of {settings.card}, as the file says"
    return [*([itself] if said else []), *knower.notes(prepared, person)]


def require_met(model: BrainFM, prepared: Recording, modality: str, person: Person) -> list[str]:
    """The same of a model without a head, which may have met people of several datasets."""
    return Knower(model, modality, "the checkpoint").notes(prepared, person)


@dataclass(frozen=True)
class Knower:
    """A model that may know sensors of one instrument by name, what it is called, and the dataset of its people, if it is one."""

    model: BrainFM
    modality: str
    name: str
    dataset: str = ""

    def notes(self, prepared: Recording, person: Person) -> list[str]:
        """Of sensors that it never met; raises `DataError` where it met others' alone and nobody said that this is a stranger."""
        asked, known = met(self.model, prepared, self.modality)
        if asked and not known and not person.stranger and (people := self.acquainted(prepared)):
            told = f" as those of {called(prepared, self.modality)}" if person != UNTOLD else ""
            raise DataError(
                f"{self.name} knows the sensors of {listed(people)}, and none of {prepared.name}{told}; "
                f"say whose it is: {person.options(*self.asked_for(prepared))}, or {person.options('stranger')} for somebody "
                "whom it never met"
            )
        if asked == known:
            return []
        return [
            f"{self.name} never met {asked - known} of {asked} sensors (or regions) and takes each for an average one"
        ]

    def asked_for(self, prepared: Recording) -> list[str]:
        """What of a person says whose these sensors are."""
        session = ["session"] if whose(prepared, self.modality) == "session" else []
        return [*([] if self.dataset else ["dataset"]), "subject", *session]

    def acquainted(self, prepared: Recording) -> list[str]:
        """The people (in their sessions) of whose sensors it has met some of these names."""
        places = {
            (one.dataset, one.subject, one.session): None
            for one in self.model.manifest.entries
            if not self.dataset or one.dataset == self.dataset
        }
        found = []
        for dataset, subject, session in places:
            one = replace(prepared, dataset=dataset, subject=subject, session=session)
            if subject and met(self.model, one, self.modality)[1]:
                found.append(called(one, self.modality) + ("" if self.dataset else f" of {dataset}"))
        return list(dict.fromkeys(found))


def met(model: BrainFM, prepared: Recording, modality: str) -> tuple[int, int]:
    """How many sensors or regions of a prepared recording a tokenizer looks up by name, and how many of these it has met."""
    tokenizer = model.tokenizers[modality]
    if not isinstance(tokenizer, Knowing):
        return 0, 0
    signal = prepared.signal(modality)
    silent = np.zeros((1, len(signal.sensors), 1), np.float32)
    batch = Batch.of(modality, silent, signal.sfreq, [signal.sensors], places=[owner(prepared, modality)])
    asked = set(tokenizer.identities(batch).unique().tolist()) - {0}
    return len(asked), len(asked & set(tokenizer.vocabulary.ids))


def called(recording: Recording, modality: str) -> str:
    """Whose a recording is, in words: with the session where names are the session's."""
    who = f"subject {recording.subject}" if recording.subject else "nobody by name"
    session = recording.session if whose(recording, modality) == "session" else ""
    return f"{who} in session {session}" if session else who


def listed(people: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(people) - LISTED} more" if len(people) > LISTED else ""
    return ", ".join(people[:LISTED]) + more
