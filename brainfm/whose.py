"""Whose a new file is. Contacts, voxels and neurons are known by their owner: a decoder that isn't told who it is knows none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    """Whose a file is, by the names of the decoder's training set; `stranger` for somebody whom the decoder never met.

    A stranger's sensors are taken for average ones, which is an answer only of decoders that need not tell sensors apart. Raises
    `DataError` for a stranger with a name.
    """

    subject: str = ""
    session: str = ""
    stranger: bool = False

    def __post_init__(self) -> None:
        if self.stranger and (self.subject or self.session):
            raise DataError(
                "--stranger is somebody whom the decoder never met; leave it away, or --subject and --session"
            )


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


def require_known(model: BrainFM, prepared: Recording, person: Person) -> list[str]:
    """What a user must know of sensors that a decoder has not met. Raises `DataError` where it has met others' alone.

    Only a tokenizer that knows sensors by name can have met any.
    """
    settings = model.decoder
    assert settings is not None  # who asks has a decoder
    asked, known = met(model, prepared, settings.modality)
    if asked and not known and not person.stranger and (people := acquainted(model, prepared, settings)):
        named = "--subject and --session" if whose(prepared, settings.modality) == "session" else "--subject"
        told = f" as those of {called(prepared, settings.modality)}" if person != UNTOLD else ""
        raise DataError(
            f"the decoder of {settings.card} knows the sensors of {listed(people)}, and none of {prepared.name}{told}; "
            f"say whose it is: {named}, or --stranger for somebody whom it never met"
        )
    said = prepared.subject and not person.subject and whose(prepared, settings.modality) != "all"
    itself = f"taken for {called(prepared, settings.modality)} of {settings.card}, as the file says"
    unknown = (
        f"the decoder of {settings.card} never met {asked - known} of {asked} sensors (or regions) and takes each for an "
        "average one"
    )
    return [*([itself] if said else []), *([unknown] if asked > known else [])]


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


def acquainted(model: BrainFM, prepared: Recording, settings: DecoderSettings) -> list[str]:
    """The people (in their sessions) of the decoder's card of whose sensors it has met some of these names."""
    places = {
        (one.subject, one.session): None for one in model.manifest.entries if one.dataset == settings.card
    }
    everyone = [
        replace(prepared, dataset=settings.card, subject=subject, session=session)
        for subject, session in places
    ]
    found = [one for one in everyone if one.subject and met(model, one, settings.modality)[1]]
    return list(dict.fromkeys(called(one, settings.modality) for one in found))


def called(recording: Recording, modality: str) -> str:
    """Whose a recording is, in words: with the session where names are the session's."""
    who = f"subject {recording.subject}" if recording.subject else "nobody by name"
    session = recording.session if whose(recording, modality) == "session" else ""
    return f"{who} in session {session}" if session else who


def listed(people: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(people) - LISTED} more" if len(people) > LISTED else ""
    return ", ".join(people[:LISTED]) + more
