"""Checkpoints: found in a run's folder or on the Hub, loaded whole or refused. safetensors and JSON only."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from brainfm.errors import CheckpointError
from brainfm.manifest import Manifest

SHIPPED = Path(__file__).parent / "checkpoints"
"""Small checkpoints that come with the package, so that the first minute needs no network."""


def shipped() -> list[str]:
    """Their names."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


@dataclass(frozen=True)
class LoadReport:
    """How much of a model a checkpoint covered."""

    expected: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    @classmethod
    def of(cls, wanted: Mapping[str, Tensor], had: Mapping[str, Tensor]) -> "LoadReport":
        """What tensors at hand are to those of a network, by name and shape."""
        wrong = [name for name in wanted.keys() & had.keys() if wanted[name].shape != had[name].shape]
        return cls(
            expected=len(wanted),
            missing=tuple(sorted(wanted.keys() - had.keys())),
            unexpected=tuple(sorted(had.keys() - wanted.keys())),
            mismatched=tuple(sorted(wrong)),
        )

    @property
    def coverage(self) -> float:
        """Share of the model's tensors that were loaded."""
        return 1 - (len(self.missing) + len(self.mismatched)) / max(1, self.expected)

    def __str__(self) -> str:
        return f"{self.coverage:.1%} of {self.expected} tensors loaded, {len(self.unexpected)} left over"


def load_whole(model: type[PreTrainedModel], folder: Path, config: PretrainedConfig, **kwargs: Any) -> Any:
    """The model of a folder, in evaluation mode, with its `load_report` and its `manifest`.

    `kwargs` are transformers' own (dtype, device_map). Raises `CheckpointError` where a tensor is missing or has another
    shape: less than the whole backbone is refused.
    """
    load = (
        PreTrainedModel.from_pretrained.__func__
    )  # past the model's own `from_pretrained`, which calls this
    # Tensors of another shape are let through here to be named and refused below.
    options = {
        **kwargs,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,
        "use_safetensors": True,
    }
    try:
        with without_bars():
            loaded, info = load(model, folder, config=config, **options)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder} can't be loaded: {' '.join(str(error).split())}") from None
    loaded.load_report = LoadReport(
        expected=len(loaded.state_dict()),
        missing=tuple(sorted(info["missing_keys"])),
        unexpected=tuple(sorted(info["unexpected_keys"])),
        mismatched=tuple(sorted(key[0] for key in info["mismatched_keys"])),
    )
    refuse_partial(loaded.load_report, folder)
    refuse_not_finite(loaded.state_dict(), folder)
    manifest = folder / "manifest.json"
    loaded.manifest = Manifest.load(manifest) if manifest.exists() else Manifest()
    return loaded.eval()


def read_config(kind: type[PretrainedConfig], folder: Path) -> Any:
    """The configuration of a checkpoint. Raises `CheckpointError` where the file is damaged or another model's."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be loaded: {' '.join(str(error).split())}") from None
    model_type = found.get("model_type") if isinstance(found, dict) else None
    if model_type != kind.model_type:
        raise CheckpointError(f"{path} is of model_type {model_type!r}, not {kind.model_type!r}")
    return kind.from_pretrained(folder)


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal: a small model's one file needs none."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


def refuse_partial(report: LoadReport, where: str | Path) -> None:
    """Raise unless every tensor was loaded: a half-loaded model looks like a trained one and is not."""
    for lost, what in ((report.missing, "lacks"), (report.mismatched, "has in another shape")):
        if lost:
            raise CheckpointError(
                f"{where} {what} {len(lost)} of the backbone's {report.expected} tensors ({lost[0]}"
                f"{', …' if len(lost) > 1 else ''}); it is not used in part: fetch or save it again"
            )


def tensors_of(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises `CheckpointError` where it is damaged or holds what is no number."""
    try:
        state: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} can't be loaded: {' '.join(str(error).split())}") from None
    refuse_not_finite(state, file)
    return state


def refuse_not_finite(state: Mapping[str, Tensor], where: Path) -> None:
    """Raise for weights that are no numbers: every feature would be NaN."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(f"{where}: {name} holds NaN or infinity; the run that made it went wrong")


def resolve(where: str | Path, revision: str | None = None) -> Path:
    """The folder that holds the model: a checkpoint, the newest of a run's, one of `shipped`, or a download from the Hub."""
    folder = Path(where)
    if (folder / "config.json").exists():
        return folder
    if folder.is_dir():
        newest = latest(folder)
        if newest is None:
            raise CheckpointError(
                f"{folder} holds no checkpoint: it has no config.json and no checkpoints folder"
            )
        return newest
    if str(where) in shipped():
        return SHIPPED / str(where)
    return download(str(where), revision)


def download(name: str, revision: str | None = None) -> Path:
    """A snapshot of a Hub repository: configuration, weights and manifest, no code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    known = f"; {', '.join(shipped())} comes with brainfm" if shipped() else ""
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=["*.json", "*.safetensors"]))
    except HFValidationError:
        raise CheckpointError(f"{name} is neither a folder nor the id of a Hub repository{known}") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(
            f"{name} is no folder here, and the Hub did not give it ({type(error).__name__}){known}"
        ) from None


def latest(run: Path) -> Path | None:
    """The newest complete checkpoint of a run's folder."""
    found = checkpoints(run)
    return found[-1] if found else None


def checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints of a run's folder, oldest first. A folder still being written has another name."""
    return sorted((run / "checkpoints").glob("step-*[0-9]"))


def step_of(checkpoint: Path) -> int:
    """The number of steps taken before this checkpoint was written."""
    return int(checkpoint.name.removeprefix("step-"))
