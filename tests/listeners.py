"""People who hear sentences that nobody has to install anything for."""

from pathlib import Path

import tiny

READER = "{kind: simulated_speech, subjects: 2, sentences: 12, sensors: 18, voice: formants}"


def card(folder: Path) -> Path:
    """Two people who hear twelve sentences, MEG."""
    return tiny.card(folder, "listeners", READER, modality="meg", more="")
