"""braindecode's models by name, untrained or with weights: `braindecode:Labram`, `braindecode:BIOT@WEIGHTS`.

Weights are a Hub id, a folder or a safetensors file. braindecode is an extra. A network is built for the windows at hand, as
braindecode builds it (`n_chans`, `n_times`, `sfreq`, `chs_info`), and the weights of its backbone are loaded whole or not at all.
"""

import hashlib
import importlib
import inspect
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from brainfm.adapters import Adapter, weights_of
from brainfm.chance import seeded
from brainfm.checkpoint import LoadReport, download, refuse_partial, tensors_of
from brainfm.data.contract import Contract
from brainfm.errors import CheckpointError
from brainfm.foreign_model import Foreign, Network, Shape
from brainfm.part import suggest

TABLE: dict[str, dict[str, Any]] = {
    # LaBraM (Jiang et al. 2024) as its own preparation of recordings is: 0.1–75 Hz, 200 Hz, 0.1 mV; names of electrodes
    "Labram": {"sfreq": 200.0, "scale": 1e4, "band": (0.1, 75.0), "patch": 1.0, "missing": "leave_out"},
    # CBraMod (Wang et al. 2025): 0.3–75 Hz, 200 Hz, 100 µV; patches of 1 s
    "CBraMod": {"sfreq": 200.0, "scale": 1e4, "band": (0.3, 75.0), "patch": 1.0},
    # BIOT (Yang et al. 2023): 200 Hz, each channel divided by the 95th percentile of its size
    "BIOT": {"sfreq": 200.0, "normalise": "percentile"},
    # REVE (El Ouahidi et al. 2025): 200 Hz, z-scores clipped at 15
    "REVE": {"sfreq": 200.0, "normalise": "z_score", "clip": 15.0},
    # braindecode's own words on EEGDINO: 200 Hz, microvolts over 100, 19 electrodes
    "EEGDINO": {"sfreq": 200.0, "scale": 1e4, "patch": 1.0},
}
"""What the papers (or braindecode) say that a model was trained on. Others get microvolts at the recording's own rate."""
USUAL: dict[str, Any] = {"scale": 1e6}
ORDERS = {"Labram": ("labram", "LABRAM_CHANNEL_ORDER"), "BIOT": ("biot", "BIOT_CHANNEL_ORDER")}
"""Where braindecode lists the sensors that a model knows, by their names."""
GRID = ("CBraMod", "REVE", "CodeBrain")
"""Models whose features are (batch, sensor, patch, width)."""
HEAD = "final_layer"


class Braindecode(Adapter):
    """A class of `braindecode.models`, and where its weights are: a Hub id, a folder, or a safetensors file; none: untrained."""

    model: str
    weights: str = ""
    settings: dict[str, Any] = Field(default={}, description="further arguments of the class")

    @classmethod
    def of(cls, words: str) -> Self:
        """`Labram` or `Labram@weights`."""
        model, weights = weights_of(words)
        return cls(model=model, weights=weights)

    def build(self) -> Foreign:
        """The model under the contract that its paper states, narrowed to what its weights say of themselves."""
        maker = Zoo(class_of(self.model), self.weights, self.settings)
        return Foreign(maker, maker.contract())


class Zoo:
    """The `Maker` of one class of braindecode, with the weights found for it."""

    def __init__(self, cls: type[nn.Module], weights: str, settings: Mapping[str, Any]) -> None:
        self.cls, self.settings = cls, dict(settings)
        self.name = f"braindecode:{cls.__name__}" + (f"@{weights}" if weights else "")
        self.grid = cls.__name__ in GRID
        self.pretrained = bool(weights)
        self.file: Path | None = None
        self.said: dict[str, Any] = {}
        if weights:
            self.file, self.said = found(weights)
        state = {} if self.file is None else tensors_of(self.file)
        renamed = getattr(cls, "mapping", None) or {}
        self.state = {renamed.get(key, key): tensor for key, tensor in state.items()}

    def contract(self) -> Contract:
        """Raises `CheckpointError` where the weights' own word contradicts it, or nothing is known of what they expect."""
        kind = self.cls.__name__
        if self.pretrained and kind not in TABLE:
            raise CheckpointError(
                f"{self.name}: brainfm does not know in which unit {kind} reads signals, and weights mean nothing in another; "
                f"it knows {', '.join(sorted(TABLE))}; for others load them with braindecode and give brainfm.foreign a Contract"
            )
        facts = {**USUAL, **TABLE.get(kind, {})}
        if facts.get("normalise"):
            facts["scale"] = 1.0
        rate = self.said.get("sfreq")
        if rate and facts.get("sfreq") and float(rate) != facts["sfreq"]:
            raise CheckpointError(
                f"{self.name}: its config says {float(rate):g} Hz, but {kind} is a model of {facts['sfreq']:g} Hz; these weights "
                "are of another model, or their config is wrong"
            )
        facts["sensors"] = self._sensors()
        if self.said.get("n_times") and facts.get("sfreq"):
            facts["seconds"] = self.said["n_times"] / facts["sfreq"]
        return Contract.model_validate(facts)

    def _sensors(self) -> list[str]:
        """The names that the weights were trained on: of their config, else of the class, as many as the config says."""
        described = self.said.get("chs_info")
        if described:
            return [str(one["ch_name"]) for one in described]
        if self.cls.__name__ not in ORDERS or (not self.pretrained and self.cls.__name__ != "Labram"):
            return []
        module, names = ORDERS[self.cls.__name__]
        order = list(getattr(importlib.import_module(f"braindecode.models.{module}"), names))
        count = self.said.get("n_chans") if self.cls.__name__ == "BIOT" else None
        return order[: count or (16 if self.cls.__name__ == "BIOT" else len(order))]

    def trained(self, shape: Shape) -> tuple[Network, LoadReport]:
        """The network with its weights; the first weights of seed 0 where it has none."""
        module = self._module(shape, 0)
        return self._as_network(module, shape), self._load(module)

    def untrained(self, shape: Shape, seed: int) -> Network:
        """The same with the first weights of `seed`."""
        return self._as_network(self._module(shape, seed), shape)

    def digest(self) -> str:
        """braindecode's version, the class with its settings, and the bytes of its weights."""
        version = importlib.import_module("braindecode").__version__
        bytes_ = b"" if self.file is None else hashlib.sha256(self.file.read_bytes()).hexdigest().encode()
        said = json.dumps([version, self.cls.__name__, self.settings, self.said], sort_keys=True, default=str)
        return hashlib.sha256(said.encode() + bytes_).hexdigest()

    def _module(self, shape: Shape, seed: int) -> nn.Module:
        """The class, built for these windows. Raises `CheckpointError` with braindecode's own reason where it can't be."""
        known = inspect.signature(self.cls.__init__).parameters
        own = {key: value for key, value in self.said.items() if key in known and key not in SHAPE}
        asked = {
            "n_chans": len(shape.names),
            "n_times": shape.n_times,
            "sfreq": shape.sfreq,
            "n_outputs": 2,
            "chs_info": described(shape),
            **own,
            **self.settings,
        }
        try:
            with seeded(seed), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.cls(**{key: value for key, value in asked.items() if key in known}).eval()
        except Exception as error:  # whatever a constructor of 66 models raises
            why = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(
                f"{self.name} can't be built for {len(shape.names)} sensors and {shape.n_times} samples: {why[:200]}"
            ) from None

    def _load(self, module: nn.Module) -> LoadReport:
        """Fill the backbone with the weights. Raises `CheckpointError` where they cover less than all of it."""
        if not self.pretrained:
            return LoadReport(0)
        wanted = {key: one for key, one in module.state_dict().items() if not head(key)}
        had = {key: one for key, one in self.state.items() if not head(key)}
        report = LoadReport.of(wanted, had)
        refuse_partial(report, self.name)
        module.load_state_dict({key: had[key] for key in wanted}, strict=False)
        return report

    def _as_network(self, module: nn.Module, shape: Shape) -> Network:
        return Features(module, {"ch_names": list(shape.names)} if self.cls.__name__ == "Labram" else {})


class Features:
    """What a module of braindecode makes before its head."""

    def __init__(self, module: nn.Module, more: Mapping[str, Any]) -> None:
        self.module, self.more = module, dict(more)
        self.asks = "return_features" in inspect.signature(module.forward).parameters

    def __call__(self, signal: Tensor, measured: Tensor) -> Tensor:
        """Raises `CheckpointError` with the module's own reason where it can't take these windows."""
        try:
            return self._features(signal)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            why = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"braindecode's {type(self.module).__name__} can't take windows of {tuple(signal.shape[1:])}: {why}"
            ) from None

    def _features(self, signal: Tensor) -> Tensor:
        if self.asks:
            out = self.module(signal, return_features=True, **self.more)
            return out["features"] if isinstance(out, dict) else out[-1]
        return before(self.module, HEAD, lambda: self.module(signal, **self.more))


def before(module: nn.Module, name: str, run: Callable[[], Any]) -> Tensor:
    """What reaches the layer of this name while `run` runs. Raises `CheckpointError` where the module has no such layer."""
    layer = getattr(module, name, None)
    if not isinstance(layer, nn.Module):
        raise CheckpointError(
            f"braindecode's {type(module).__name__} has no {name} to stop before; it gives no features"
        )
    caught: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    try:
        run()
    finally:
        hook.remove()
    if not caught:
        raise CheckpointError(
            f"braindecode's {type(module).__name__} does not pass its {name}; it gives no features"
        )
    return caught[0].flatten(1)


SHAPE = (
    "n_chans",
    "n_times",
    "sfreq",
    "n_outputs",
    "chs_info",
    "input_window_seconds",
    "braindecode_version",
)
"""What follows from the windows and not from a config."""


def class_of(name: str) -> type[nn.Module]:
    """The class of braindecode. Raises `CheckpointError` where it has none of that name, or is not installed."""
    try:
        models = importlib.import_module("braindecode.models")
    except ImportError as error:
        raise CheckpointError(
            f"braindecode:{name} needs braindecode ({error}); install it: pip install 'brainfm-toolkit[braindecode]'"
        ) from None
    classes = {
        key: one for key, one in vars(models).items() if inspect.isclass(one) and issubclass(one, nn.Module)
    }
    if name not in classes:
        raise CheckpointError(f"braindecode has no model {name!r}{suggest(name, classes)}")
    return classes[name]


def found(where: str) -> tuple[Path, dict[str, Any]]:
    """The safetensors file and what the config beside it says, of a file, a folder, or a Hub id."""
    path = Path(where)
    folder = path if path.is_dir() else path.parent if path.is_file() else download(where)
    files = [path] if path.is_file() else sorted(folder.glob("*.safetensors"))
    if len(files) != 1 or files[0].suffix != ".safetensors":
        raise CheckpointError(f"{where} holds {len(files)} safetensors files; name the one to load")
    config = folder / "config.json"
    try:
        said = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    except ValueError:
        raise CheckpointError(f"{config} is not JSON") from None
    return files[0], said if isinstance(said, dict) else {}


def head(key: str) -> bool:
    """Whether a tensor is the classifier's, which a probe does not use."""
    return key.startswith(f"{HEAD}.")


def described(shape: Shape) -> list[dict[str, Any]] | None:
    """The sensors as MNE's `info["chs"]` says them; None where a place is not known."""
    if not np.isfinite(shape.position).all():
        return None
    return [
        {"ch_name": name, "kind": "eeg", "loc": np.concatenate([place, np.zeros(9)])}
        for name, place in zip(shape.names, shape.position, strict=True)
    ]
