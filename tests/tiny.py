"""Tiny cards, runs and recordings, and the command line as a user calls it: what the tests of the jobs share."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import mne
import numpy as np
import torch

from brainfm import cli
from brainfm.data.brain import Brain
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording

ROOT = Path(__file__).parents[1]
NETWORK = (
    "encoder.depth=1",
    "encoder.width=64",
    "encoder.heads=1",
    "objectives.masked_patches.decoder_depth=1",
)
"""Overrides that make `smoke` a network of one block."""
TASK = """task:
  labels: [left_hand, right_hand]
  window: {kind: trials, seconds: 2.0}
  split: CrossSubject
  metric: balanced_accuracy
"""


@dataclass(frozen=True)
class Result:
    """What a command left in the terminal."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout; fails where there is anything else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def brainfm(*words: Any) -> Result:
    """The command line in this process, with its exit code."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["brainfm", *map(str, words)]),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
    return Result(code or 0, out.getvalue(), err.getvalue())


def shell(*words: Any, before: Sequence[str] = (sys.executable,)) -> subprocess.Popen[str]:
    """`python -m brainfm` in a process of its own, in a group of its own, with its output caught."""
    return subprocess.Popen(
        [*before, "-m", "brainfm", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> Result:
    """The result of a process, once it has ended."""
    out, err = process.communicate(timeout=120)
    return Result(process.returncode, out, err)


def sets(*overrides: str) -> list[str]:
    """`--set` before each."""
    return [word for override in overrides for word in ("--set", override)]


def card(
    folder: Path,
    name: str,
    reader: str,
    source: str = "",
    files: str = "",
    more: str = TASK,
    modality: str = "eeg",
) -> Path:
    """A card file; `source` is its folder of recordings, "" for simulated ones."""
    facts = {
        "title": name,
        "modality": modality,
        "licence": "none",
        "citation": "none",
        "source": "brainfm",
        "folder": f'"{source}"',
        "files": f'"{files}"',
        "reader": reader,
    }
    lines = "".join(f"{key}: {value}\n" for key, value in facts.items())
    path = folder / f"{name}.md"
    path.write_text(f"---\n{lines}{more}---\nMade for a test.\n", encoding="utf-8")
    return path


def people(folder: Path, subjects: int = 4, seconds: float = 60.0, name: str = "people") -> Path:
    """A card of simulated people, each with eight sensors."""
    reader = f"{{kind: simulated, subjects: {subjects}, seconds: {seconds}, sensors: 8}}"
    return card(folder, name, reader)


INSTRUMENTS = {
    "eeg": {"seconds": 40.0, "sensors": 8},
    "meg": {"seconds": 40.0, "sensors": 12},
    "seeg": {"seconds": 40.0, "sensors": 8, "sfreq": 128.0},
    "fmri": {"seconds": 400.0, "sensors": 30},
    "spikes": {"seconds": 40.0, "sensors": 8},
}


def five_instruments(folder: Path, subjects: int = 3) -> list[Path]:
    """A card of simulated people for each instrument, called as the instrument."""
    paths = []
    for name, settings in INSTRUMENTS.items():
        words = "".join(f", {key}: {value}" for key, value in settings.items())
        reader = f"{{kind: simulated, modality: {name}, subjects: {subjects}{words}}}"
        task = (
            TASK + "baseline: {kind: csp_lda}\n"
            if name == "eeg"
            else TASK.replace("CrossSubject", "WithinSession\n  folds: 2")
        )
        task = task.replace("seconds: 2.0", "seconds: 12.0, offset: 5.0") if name == "fmri" else task
        paths.append(card(folder, name, reader, more=task, modality=name))
    return paths


def person(number: int, seconds: float = 60.0) -> Recording:
    """A recording of eight sensors with trials of both hands."""
    brain = Brain.draw(np.random.default_rng([7, number]))
    rng = np.random.default_rng([7, number, 1])
    return modality("eeg").simulate(
        rng, seconds=seconds, sfreq=128.0, sensors=8, classes=["left_hand", "right_hand"], brain=brain
    )


def raw_of(recording: Recording, modality: str = "eeg") -> Any:
    """The same as MNE's `Raw`, with its trials as annotations."""
    signal = recording.signal(modality)
    info = mne.create_info(list(signal.sensors.name), signal.sfreq, modality)
    raw = mne.io.RawArray(signal.load(), info, verbose="error")
    marks = recording.events
    return raw.set_annotations(mne.Annotations(marks.onset, marks.duration, list(marks.label)))


def write_edf(path: Path, raw: Any) -> Path:
    """The raw as an EDF file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mne.export.export_raw(path, raw, overwrite=True, verbose="error")
    return path


def edf_people(folder: Path, subjects: int = 4, seconds: float = 60.0) -> Path:
    """A folder of EDF files, sub01.edf and on, and beside it the card that describes it."""
    for number in range(1, subjects + 1):
        write_edf(folder / "edf" / f"sub{number:02d}.edf", raw_of(person(number, seconds)))
    return card(folder, "edf_people", "{kind: mne_file}", "edf", "sub{subject}.edf")


def train_words(card: Path, out: Path, *overrides: str, steps: int = 8, recipe: str = "smoke") -> list[str]:
    """The words of a tiny pretraining."""
    settings = (f"data.cards=[{card}]", f"train.steps={steps}", "train.batch=16", "train.precision=no")
    return ["pretrain", recipe, "--out", str(out), *sets(*NETWORK, *settings, *overrides)]


def drawn(seed: int) -> torch.Generator:
    """Torch's generator with this seed."""
    return torch.Generator().manual_seed(seed)


def rows(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def only_sentence(result: Result) -> str:
    """The one sentence of a command that failed: nothing else on stderr, nothing on stdout."""
    assert result.code not in (0, None), result
    assert result.out == "", result.out
    lines = result.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.err
    assert "Traceback" not in result.err
    return lines[0].removeprefix("error: ")
