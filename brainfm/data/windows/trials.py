"""One window per event: trials."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from brainfm.data.recording import Recording
from brainfm.data.windows import Cut, Windows, place
from brainfm.errors import DataError


class Trials(Cut):
    """A window of `seconds` per event, beginning `offset` seconds after the event's onset."""

    offset: float = 0.0

    def __call__(self, recordings: Sequence[Recording], modality: str, labels: Sequence[str]) -> Windows:
        """One window per event; with `labels`, those that carry one. Raises `DataError` without events."""
        require_events(recordings, labels)
        rows: list[tuple[int, float, int]] = []
        dropped: Counter[str] = Counter()
        for index, recording in enumerate(recordings):
            signal = recording.signal(modality)
            for onset, label in zip(recording.events.onset.tolist(), recording.events.label, strict=True):
                if labels and label not in labels:
                    dropped[f"labelled {label}"] += 1
                elif place(signal, onset + self.offset, self.seconds) is None:
                    dropped["crosses a break or an end of the signal"] += 1
                else:
                    rows.append((index, onset + self.offset, list(labels).index(label) if labels else -1))
        return table(rows, self.seconds, labels, dropped)


def table(
    rows: Sequence[tuple[int, float, int]], seconds: float, labels: Sequence[str], dropped: Counter[str]
) -> Windows:
    """A table from (recording, start, label) rows."""
    return Windows(
        recording=np.array([row[0] for row in rows], np.int64),
        start=np.array([row[1] for row in rows], np.float64),
        seconds=seconds,
        label=np.array([row[2] for row in rows], np.int64),
        labels=tuple(labels),
        dropped=dict(dropped),
    )


def require_events(recordings: Sequence[Recording], labels: Sequence[str]) -> None:
    """Raise `DataError` where no recording has an event, or none that carries one of the labels."""
    found = sorted({label for recording in recordings for label in recording.events.label})
    where = recordings[0].name if len(recordings) == 1 else f"none of {len(recordings)} recordings"
    if not found:
        says = f"{where} has no events" if len(recordings) == 1 else f"{where} has an event"
        raise DataError(f"{says}; say in the card where its events are")
    if labels and not set(labels) & set(found):
        raise DataError(
            f"no event is labelled {' or '.join(labels)}; the labels are: {', '.join(found[:20])}"
        )
