"""Windows inside events: every stretch of a stimulus that fits, and none that two of them share."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from brainfm.data.recording import Recording
from brainfm.data.windows import Cut, Windows, place
from brainfm.data.windows.trials import require_events, table


class Inside(Cut):
    """A window of `seconds` every `stride` seconds (default: `seconds`) from the onset of each event, as long as it fits.

    With `offset` windows begin so many seconds later than what they are to tell of, which is what must fit: a brain answers
    late (Défossez et al. 2023, arXiv:2208.12266, §2.5: 150 ms).
    """

    stride: float | None = Field(default=None, gt=0)
    offset: float = 0.0

    def __call__(self, recordings: Sequence[Recording], modality: str, labels: Sequence[str]) -> Windows:
        """The windows; with `labels`, those of events that carry one. Raises `DataError` without events."""
        require_events(recordings, labels)
        rows: list[tuple[int, float, int]] = []
        dropped: Counter[str] = Counter()
        step = self.stride or self.seconds
        for index, recording in enumerate(recordings):
            signal, events = recording.signal(modality), recording.events
            for onset, duration, label in zip(events.onset, events.duration, events.label, strict=True):
                if labels and label not in labels:
                    dropped[f"labelled {label}"] += 1
                    continue
                count = int(np.floor((duration - self.seconds) / step + 1e-6)) + 1
                if count < 1:
                    dropped["an event shorter than a window"] += 1
                for start in onset + self.offset + step * np.arange(max(count, 0)):
                    if place(signal, float(start), self.seconds) is None:
                        dropped["crosses a break or an end of the signal"] += 1
                    else:
                        rows.append((index, float(start), labels.index(label) if labels else -1))
        return table(rows, self.seconds, labels, dropped)
