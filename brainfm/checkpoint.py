"""Checkpoints: written whole or not at all, loaded whole or refused. safetensors and JSON only."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainfm.errors import CheckpointError
from brainfm.manifest import Manifest


@dataclass(frozen=True)
class LoadReport:
    """How much of a model a checkpoint covered."""

    expected: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the model's tensors that were loaded."""
        return 1 - (len(self.missing) + len(self.mismatched)) / max(1, self.expected)

    def __str__(self) -> str:
        return f"{self.coverage:.1%} of {self.expected} tensors loaded, {len(self.unexpected)} left over"


def load_model(where: str | Path, trust: Sequence[str] = (), **kwargs: Any) -> Any:
    """A `BrainFM` from a folder or a Hub id, with its manifest and its `load_report`.

    Raises `CheckpointError` where a tensor is missing or has another shape: less than the whole backbone is refused.
    """
    from transformers import PreTrainedModel

    from brainfm.model import BrainFM, BrainFMConfig

    folder = resolve(where)
    config = BrainFMConfig.from_pretrained(folder, **kwargs)
    config._trust = list(trust)
    load = PreTrainedModel.from_pretrained.__func__  # type: ignore[attr-defined]  # past our own override
    try:
        model, info = load(BrainFM, folder, config=config, output_loading_info=True, use_safetensors=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{where} can't be loaded: {' '.join(str(error).split())}") from None
    model.load_report = LoadReport(
        expected=len(model.state_dict()),
        missing=tuple(sorted(info["missing_keys"])),
        unexpected=tuple(sorted(info["unexpected_keys"])),
        mismatched=tuple(sorted(key[0] for key in info["mismatched_keys"])),
    )
    refuse_partial(model.load_report, where)
    manifest = folder / "manifest.json"
    model.manifest = Manifest.load(manifest) if manifest.exists() else Manifest()
    return model.eval()


def refuse_partial(report: LoadReport, where: str | Path) -> None:
    """Raise unless every tensor was loaded: a half-loaded model looks like a trained one and is not."""
    lost = (*report.missing, *report.mismatched)
    if lost:
        raise CheckpointError(
            f"{where} lacks {len(lost)} of the backbone's {report.expected} tensors ({lost[0]}"
            f"{', …' if len(lost) > 1 else ''}); it is not used in part: fetch or save it again"
        )


def resolve(where: str | Path) -> Path:
    """The folder that holds the model: a checkpoint, the newest of a run's checkpoints, or a download from the Hub."""
    folder = Path(where)
    if (folder / "config.json").exists():
        return folder
    if folder.is_dir():
        newest = latest(folder)
        if newest is None:
            raise CheckpointError(f"{folder} holds no checkpoint: it has no config.json and no checkpoints folder")
        return newest
    return _download(str(where))


def _download(name: str) -> Path:
    """A snapshot of a Hub repository: configuration, weights and manifest, no code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except HFValidationError:
        raise CheckpointError(f"{name} is neither a folder nor the id of a Hub repository") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(f"{name} is no folder here, and the Hub did not give it: {type(error).__name__}") from None


def latest(run: Path) -> Path | None:
    """The newest complete checkpoint of a run's folder. A folder still being written has another name."""
    found = sorted((run / "checkpoints").glob("step-*[0-9]"))
    return found[-1] if found else None


def step_of(checkpoint: Path) -> int:
    """The number of steps taken before this checkpoint was written."""
    return int(checkpoint.name.removeprefix("step-"))


def write_whole(folder: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a folder under a passing name, then give it its own: a crash leaves nothing under `folder`."""
    passing = folder.with_name(f"{folder.name}.writing")
    shutil.rmtree(passing, ignore_errors=True)
    passing.mkdir(parents=True)
    write(passing)
    _flush(passing)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(passing, folder)
    return folder


def write_file(path: Path, text: str) -> Path:
    """Write a text file whole or not at all."""
    passing = path.with_name(f"{path.name}.writing")
    path.parent.mkdir(parents=True, exist_ok=True)
    passing.write_text(text, encoding="utf-8")
    os.replace(passing, path)
    return path


def write_json(path: Path, data: Any) -> Path:
    """Write JSON whole or not at all; NaN is refused because other readers don't know it."""
    return write_file(path, json.dumps(data, indent=1, allow_nan=False))


def _flush(folder: Path) -> None:
    """Bring the files to disk before the folder gets its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
