"""The networks that published scores of reconstructions compare by, with their exact layers and sizes. Nothing is downloaded.

AlexNet, Inception v3 and EfficientNet B1 with torchvision's ImageNet weights, CLIP ViT-L/14 with OpenAI's, ResNet-50 with SwAV's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.errors import BrainfmError
from brainfm.images.embedders import ImageEmbedder
from brainfm.images.embedders.clip import Clip
from brainfm.images.frozen import Preparation, weights_hash
from brainfm.images.rgb import Mode, resized
from brainfm.images.vision_transformer import IMAGENET, OPENAI
from brainfm.part import suggest

Features = Float[NDArray[np.float32], "picture feature"]


class NotAtHand(Exception):
    """Why something can't be had here: the words that follow a score's name."""


@dataclass
class Weights:
    """Where weights may lie: folders that the user names, then the caches of torch and the Hub. Networks are read once."""

    folders: tuple[Path, ...] = ()
    read: dict[str, Any] = field(default_factory=dict, repr=False)

    def file(self, names: tuple[str, ...]) -> Path | None:
        """The first file of one of these names."""
        places = (*self.folders, Path(torch.hub.get_dir()) / "checkpoints")
        return next((place / name for place in places for name in names if (place / name).is_file()), None)

    def folder(self, names: tuple[str, ...]) -> Path | None:
        """The first folder of one of these names in the user's folders, or the Hub's cached snapshot of `owner/name`."""
        for place in self.folders:
            for name in names:
                if (place / name.rpartition("/")[2] / "config.json").is_file():
                    return place / name.rpartition("/")[2]
        from huggingface_hub import try_to_load_from_cache

        for name in names:
            config = try_to_load_from_cache(name, "config.json")
            whole = try_to_load_from_cache(name, "model.safetensors")
            if isinstance(config, str) and isinstance(whole, str):
                return Path(config).parent
        return None


@dataclass(frozen=True)
class Backbone:
    """A published network, read at one layer."""

    make: Callable[[], nn.Module]
    layer: str
    files: tuple[str, ...]
    prepare: Preparation


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision

        # Google's weights expect colours from −1 to 1, which torchvision turns ours to when it loads them
        extra = {"transform_input": True, "init_weights": False} if name == "inception_v3" else {}
        found: nn.Module = getattr(torchvision.models, name)(weights=None, **extra)
        return found

    return make


def _swav() -> nn.Module:
    found: Any = _torchvision("resnet50")()
    found.fc = nn.Identity()  # SwAV's projection is no part of what is compared
    return found


_ALEXNET = ("alexnet-owt-7be5be79.pth", "alexnet.safetensors")
BACKBONES = {
    "alexnet_2": Backbone(
        _torchvision("alexnet"), "features.4", _ALEXNET, Preparation(256, *IMAGENET, "bilinear")
    ),
    "alexnet_5": Backbone(
        _torchvision("alexnet"), "features.11", _ALEXNET, Preparation(256, *IMAGENET, "bilinear")
    ),
    "inception": Backbone(
        _torchvision("inception_v3"),
        "avgpool",
        ("inception_v3_google-0cc3c7bd.pth", "inception_v3.safetensors"),
        Preparation(342, *IMAGENET, "bilinear"),
    ),
    "efficientnet": Backbone(
        _torchvision("efficientnet_b1"),
        "avgpool",
        ("efficientnet_b1-c27df63c.pth", "efficientnet_b1.safetensors"),  # the second version, of size 255
        Preparation(255, *IMAGENET, "bilinear"),
    ),
    "swav": Backbone(
        _swav,
        "avgpool",
        ("swav_800ep_pretrain.pth.tar", "swav_resnet50.safetensors"),
        Preparation(224, *IMAGENET, "bilinear"),
    ),
}
"""AlexNet(2) and (5) are `features.4` and `features.11`, the second and the fifth layer, rectified."""
CLIP = ("openai/clip-vit-large-patch14",)
CLIP_MODE: Mode = "bilinear"
"""As MindEye2; NeuroPictor resizes bicubically."""
PIXELS = 64
"""Side of pictures whose pixels are features."""
KNOWN = ("pixels", "clip", *BACKBONES)


@dataclass(frozen=True)
class Extractor:
    """Pictures to features, with what a result must say of them."""

    features: Callable[[Tensor], Features]
    id: str
    resize: str


def extractor(of: str | ImageEmbedder, weights: Weights, batch: int = 32) -> Extractor:
    """What gives features of that name, or an embedder's `pooled`. Raises `NotAtHand` where weights are missing.

    Raises `BrainfmError` for a name that is not known.
    """
    if of == "pixels":
        return Extractor(
            lambda images: _flat(resized(images, PIXELS)), "pixels", f"{PIXELS} bilinear antialiased"
        )
    if isinstance(of, ImageEmbedder):
        key = of.model_dump_json()
        if key not in weights.read:
            weights.read[key] = of.build()
        embedder = weights.read[key]
        return Extractor(
            lambda images: _batched(embedder.pooled, images, batch), embedder.id, _said(embedder.prepare)
        )
    if of == "clip":
        return _clip(weights, batch)
    if of not in BACKBONES:
        raise BrainfmError(f"{of!r} are no features that are known{suggest(of, KNOWN)}")
    chosen = BACKBONES[of]
    network = _read(chosen, weights)
    return Extractor(
        lambda images: _batched(lambda x: _at(network, chosen.layer, chosen.prepare(x)), images, batch),
        f"{of} {weights_hash(network)}",
        _said(chosen.prepare),
    )


def _clip(weights: Weights, batch: int) -> Extractor:
    folder = weights.folder(CLIP)
    if folder is None:
        raise NotAtHand(
            f"needs the weights {CLIP[0]}, a folder of that name in one of the folders of weights"
        )
    if str(folder) not in weights.read:
        weights.read[str(folder)] = Clip(weights=str(folder)).build()
    network = weights.read[str(folder)]
    prepare = Preparation(network.prepare.size, *OPENAI, CLIP_MODE)
    return Extractor(
        lambda images: _batched(lambda x: network.read(prepare(x)).pooled, images, batch),
        f"clip {weights_hash(network.network)}",
        _said(prepare),
    )


def _read(backbone: Backbone, weights: Weights) -> nn.Module:
    """The network with its published weights, every tensor of it."""
    path = weights.file(backbone.files)
    if path is None:
        raise NotAtHand(f"needs the weights {backbone.files[0]} in one of the folders of weights")
    if str(path) not in weights.read:
        network = backbone.make()
        state = {name.removeprefix("module."): value for name, value in _state(path).items()}
        try:
            lacking = network.load_state_dict(state, strict=False).missing_keys
        except RuntimeError as error:
            raise NotAtHand(
                f"needs other weights than {path.name} holds ({str(error).split(':')[0]})"
            ) from None
        lacking = [name for name in lacking if not name.startswith("AuxLogits.")]
        if lacking:
            raise NotAtHand(f"needs {lacking[0]} and {len(lacking) - 1} more tensors that {path} lacks")
        weights.read[str(path)] = network.requires_grad_(False).eval()
    found: nn.Module = weights.read[str(path)]
    return found


def _state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, of safetensors or of torch's own format, of which tensors alone are read."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    # the file is there, so nothing is downloaded; `weights_only` runs no code of it
    found = torch.hub.load_state_dict_from_url(
        path.as_uri(), model_dir=str(path.parent), file_name=path.name, map_location="cpu", weights_only=True
    )
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _at(network: nn.Module, layer: str, prepared: Tensor) -> Tensor:
    """What a layer gives."""
    with _kept(network.get_submodule(layer)) as kept:
        network(prepared)
    return kept[0]


@contextmanager
def _kept(module: nn.Module) -> Iterator[list[Tensor]]:
    kept: list[Tensor] = []
    hook = module.register_forward_hook(lambda module, given, out: kept.append(out.clone()))
    try:
        yield kept
    finally:
        hook.remove()


@torch.no_grad()
def _batched(features: Callable[[Tensor], Tensor], images: Tensor, batch: int) -> Features:
    return _flat(torch.cat([features(part).flatten(1) for part in images.split(batch)]))


def _flat(values: Tensor) -> Features:
    return np.asarray(values.detach().flatten(1).float().cpu().numpy())


def _said(prepare: Preparation) -> str:
    return f"{prepare.size} {prepare.mode} antialiased"
