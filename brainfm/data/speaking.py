"""A simulated person with depth electrodes who says words: few contacts hear them, and others hear something just like them.

Sources of one parcel, the left superior temporal one, follow the words that are said, as `listening` has it for sentences.
Sources of other parcels answer in the same way to a stream of other sounds at other times, which tells nothing of the words. So
what a contact shows does not say by itself whether it is worth listening to; where it is does.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.data.brain import CENTRE, Activity, Brain, activity
from brainfm.data.listening import Heard, Listener, answer
from brainfm.data.modalities.seeg import gains, noise, shafts
from brainfm.data.positions import head_positions, to_mni
from brainfm.data.recording import Events, Recording, Sensors, Signal
from brainfm.data.speech import NOUNS, Voice

PARCELS = {
    "superiortemporal": ("T7", "T8"),
    "lateralorbitofrontal": ("Fp1", "Fp2"),
    "inferiortemporal": ("P7", "P8"),
    "lateraloccipital": ("O1", "O2"),
    "superiorparietal": ("P3", "P4"),
    "supramarginal": ("CP5", "CP6"),
    "precentral": ("C3", "C4"),
    "parsopercularis": ("F7", "F8"),
    "rostralmiddlefrontal": ("F3", "F4"),
    "superiorfrontal": ("FC1", "FC2"),
}
"""Names of FreeSurfer's Desikan-Killiany atlas, and the electrodes of either side that a parcel lies under here."""
SPEECH = "T7"
"""Under which electrode the sources of words lie."""
OTHERS = ("O1", "O2", "P3", "P4", "F3", "F4", "C4", "T8", "F8", "P8")
"""Under which those lie that answer to other sounds."""
EACH = 6
"""Sources of words."""
PAUSES = {"word": (0.5, 1.2), "speech": (1.9, 2.6)}
"""Shortest and longest silence between words, in seconds; where silence is told of too, long enough for a window."""
SHORTEST = 0.9
"""Seconds that no word and the pause after it fall short of."""
ECHO = 0.4
"""Seconds after a word that its answer lasts."""
SPREAD = 0.15
"""How far, as a share of the way to the middle, surgeons miss what they aim at."""


@dataclass(frozen=True)
class Speaker:
    """One person: a brain with all sources, those that follow words, and those that follow something else."""

    brain: Brain
    words: Listener
    others: Listener

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Speaker":
        """A person at random."""
        words = Listener.draw(rng, (SPEECH,), EACH)
        others = Listener.draw(rng, OTHERS, 2, words.brain)
        return cls(others.brain, words, others)


def order(words: int, repeats: int, rng: np.random.Generator) -> list[str]:
    """Every word `repeats` times, in blocks that each hold all of them in an order of its own."""
    return [NOUNS[row] for _ in range(repeats) for row in rng.permutation(words)]


def talk(
    person: Speaker,
    rng: np.random.Generator,
    said: list[str],
    tells: str,
    sensors: int,
    sfreq: float,
    moment: float,
    voice: Voice,
) -> Recording:
    """A session in which the person says these words. Events are the words, or `tells: speech` and silence by turns."""
    heard = Heard.of(said, rng, voice, PAUSES[tells])
    unrelated = rng.choice(said, round(heard.seconds / SHORTEST))
    other = Heard.of(unrelated.tolist(), rng, voice)
    own = activity(person.brain, rng, heard.seconds, sfreq, ["rest"])
    n_times = own.moment.shape[1]
    far = answer(person.others, other, sfreq, moment)[:, :n_times]
    session = Activity(
        np.vstack([own.moment, answer(person.words, heard, sfreq, moment)[:, :n_times], far]),
        sfreq,
        heard.events if tells == "word" else by_turns(heard.events),
        own.envelope,
        np.full(n_times, -1),
    )
    # where the electrodes are is the person's own
    surgeon = np.random.default_rng(person.brain.place)
    place, names = shafts(surgeon, sensors, [aimed(surgeon)])
    data = gains(place, person.brain) @ session.moment + noise(rng, len(place), session)
    table = Sensors.of(names, "seeg", "V", position=to_mni(place), frame="approximate")
    signal = Signal(data, sfreq, table.with_regions([parcel_of(one) for one in place]))
    return Recording({"seeg": signal}, session.events, {"sound": heard.track}, source="simulated")


def aimed(rng: np.random.Generator) -> NDArray[np.float64]:
    """About the direction of the parcel of words from the brain's middle."""
    towards = head_positions("standard_1005")[SPEECH] - CENTRE
    return np.asarray(towards + SPREAD * np.linalg.norm(towards) * rng.normal(size=3))


def by_turns(words: Events) -> Events:
    """Speech where a word begins, silence once its echo is over."""
    onset = np.stack([words.onset, words.onset + words.duration + ECHO], axis=1).ravel()
    return Events(onset, np.full(len(onset), 1.0), ("speech", "silence") * len(words.onset))


def parcel_of(place: NDArray[np.float64]) -> str:
    """The parcel of a place in head coordinates: that of the electrode in whose direction it lies."""
    names, directions = sites()
    towards = place - CENTRE
    return names[int(np.argmax(directions @ towards))]


@lru_cache(maxsize=1)
def sites() -> tuple[list[str], NDArray[np.float64]]:
    """Each parcel's name with its side, and the direction in which it lies."""
    found = head_positions("standard_1005")
    names = [f"ctx-{side}-{name}" for name in PARCELS for side in ("lh", "rh")]
    directions = np.stack([found[site] for both in PARCELS.values() for site in both]) - CENTRE
    return names, directions / np.linalg.norm(directions, axis=1, keepdims=True)
