"""Doctor: what is installed, which device would be used, what is missing and how to get it."""

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "mne",
    "nilearn",
    "nibabel",
    "timm",
    "diffusers",
    "pyriemann",
    "scikit-learn",
)
OPTIONAL = {
    "tensorboard": 'pip install "brainfm-toolkit[track]" for --set train.log_with=tensorboard',
    "wandb": 'pip install "brainfm-toolkit[track]" for --set train.log_with=wandb',
    "onnxruntime": 'pip install "brainfm-toolkit[export]" for brainfm export --format onnx',
    "mne-lsl": 'pip install "brainfm-toolkit[stream]" for brainfm stream lsl:NAME',
}


DATA = "data of "


@dataclass(frozen=True)
class Diagnosis:
    """What was found."""

    device: str
    versions: dict[str, str]
    missing: dict[str, str]

    @property
    def json(self) -> dict[str, Any]:
        return {"device": self.device, "versions": self.versions, "missing": self.missing}

    @property
    def text(self) -> str:
        """The same for a reader: what stops brainfm first, then what only some need, at the end whether it can be used."""
        needed = [name for name in self.missing if name in PACKAGES]
        sets = [name for name in self.missing if name.startswith(DATA)]
        some = [name for name in self.missing if name not in (*needed, *sets)]
        lines = [f"device: {self.device}", *(f"{name} {version}" for name, version in self.versions.items())]
        lines += [f"missing: {name}: {self.missing[name]}" for name in needed]
        lines += [f"optional, not here: {name}: {self.missing[name]}" for name in some]
        lines += [f"only its card needs the {name}: {self.missing[name]}" for name in sets]
        return "\n".join([*lines, f"not ready: {', '.join(needed)}" if needed else "ready"])


def doctor() -> Diagnosis:
    """Look at the installation without changing anything."""
    versions = {
        "python": platform.python_version(),
        "brainfm-toolkit": version("brainfm-toolkit") or "not installed, run in place",
    }
    missing = {}
    for name in PACKAGES:
        if found := version(name):
            versions[name] = found
        else:
            missing[name] = f"pip install {name}"
    missing |= {name: how for name, how in OPTIONAL.items() if not version(name)}
    missing |= data_missing()
    if not shutil.which("chromium"):
        missing["chromium"] = (
            "only the test that opens a report in a browser needs it: apt-get install chromium"
        )
    return Diagnosis(device() if "torch" in versions else "none", versions, missing)


def version(name: str) -> str | None:
    """The installed version. A folder of the same name is not mistaken for the package, as an import would."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def device() -> str:
    """What Accelerate would run on."""
    import torch

    from brainfm.precision import has_bf16

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}"
    if torch.backends.mps.is_available():
        return "mps"
    precision = "bf16" if has_bf16() else "float32, since bf16 would be emulated"
    return f"cpu, {torch.get_num_threads()} threads, trains in {precision}"


def data_missing() -> dict[str, str]:
    """Which cards' recordings are not on this machine. A catalogue card, which says nothing of how to read, is not one."""
    from brainfm.data.cards import DataCard, list_cards
    from brainfm.errors import DataError

    missing = {}
    for name in list_cards():
        card = DataCard.load(name)
        if card.reader is None:
            continue
        try:
            card.entries()
        except DataError:
            missing[f"{DATA}{name}"] = f"{card.source}; unpack it into {card.folder} under BRAINFM_DATA"
    return missing
