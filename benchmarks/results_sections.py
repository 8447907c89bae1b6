"""The tables of RESULTS.md: what makes each, how long it may take, and how it is written."""

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asked import Asked

from brainfm.errors import BrainfmError

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A table between markers. `module` is a script of this folder with `measured` and `lines` (see `asked.py`)."""

    name: str
    module: str
    minutes: int
    """Budget on two cores with nothing else to do."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What `measured` is told beside what is asked."""
    dropped: Path | None = None
    """A file that the script itself writes after hours; the whole section is taken from it where it is there."""
    function: str = "measured"
    """What of the module measures."""

    def measured(self, asked: Asked) -> Found:
        """What goes to JSON."""
        if self.dropped is not None and self.dropped.exists() and asked.limit is None:
            return {"tables": json.loads(self.dropped.read_text(encoding="utf-8"))}
        found: Found = self._function(self.function)(asked, **self.given)
        return found

    def lines(self, found: Found) -> list[str]:
        """Markdown of what came from JSON."""
        out: list[str] = self._function("lines")(found)
        return out

    def _function(self, name: str) -> Callable[..., Any]:
        """Imported only where it is needed: `--list` needs none."""
        function: Callable[..., Any] = getattr(importlib.import_module(self.module), name)
        return function


SECTIONS = (
    Section("real_eeg", "real_eeg", 45),
    Section("tasks", "full_tables", 150),
    Section("few_labels", "few_labels", 10),
    Section("new_sessions", "new_sessions", 5),
    Section("asides", "asides", 5),
    Section("shipped", "shipped", 5),
    Section("real_joint", "joint", 120, dropped=Path("runs/real_joint/scores.json")),
    Section("real_five", "real_five", 20),
    Section("real_spikes", "real_spikes", 3),
    Section("five_instruments", "five_instruments", 10),
    Section("cross_modal", "cross_modal", 40),
    Section("other_modality", "other_modality", 25),
    Section("ablations", "ablations", 60),
    Section("ablations_patches", "ablations", 35, {"setting": "patches"}),
    Section("ablations_early", "ablations", 25, {"setting": "early"}),
    Section("ablations_dense", "ablations", 40, {"setting": "dense"}),
    Section("objectives", "objectives", 30),
    Section("contamination", "contamination", 5),
    Section("digits", "digits", 40),
)


def chosen(names: Sequence[str]) -> list[Section]:
    """The sections of these names, all without any. Raises `BrainfmError` for a name that is none."""
    known = {section.name: section for section in SECTIONS}
    if wrong := [name for name in names if name not in known]:
        raise BrainfmError(f"{wrong[0]!r} is no section; take one of {', '.join(known)}")
    return [known[name] for name in names] or list(SECTIONS)
