"""Image embedders: one contract for all, frozen but open to gradients of pictures, published weights by folder or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from torch import Tensor

from brainfm.errors import BrainfmError, CheckpointError, DataError, RecipeError
from brainfm.images.embedders import ImageEmbedder
from brainfm.images.embedders.backbone import Backbone
from brainfm.images.embedders.clip import Clip
from brainfm.images.embedders.dinov2 import Dinov2
from brainfm.images.embedders.vgg import Vgg
from brainfm.images.embedders.vit import Vit
from brainfm.images.frozen import FrozenEmbedder
from brainfm.images.map_tokens import counts, to_maps, to_tokens
from brainfm.images.rgb import grey, resized, rgb
from brainfm.images.small import train_small
from brainfm.part import known
from tests.pictures_made import blobs

TRY: dict[str, dict[str, Any]] = {
    "backbone": {},
    "clip": {},
    "dinov2": {"registers": 2},
    "vgg": {"size": 32, "channels": [8, 16, 32, 64]},
    "vit": {"cls": True, "layers": [1, 3]},
}
WEIGHTS = torch.tensor([0.2125, 0.7154, 0.0721])


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module", params=sorted(TRY))
def embedder(request: pytest.FixtureRequest) -> FrozenEmbedder:
    return ImageEmbedder.model_validate({"kind": request.param, **TRY[request.param]}).build(seed())


def test_every_embedder_is_tried() -> None:
    fitted = ["principal"]  # has no features before that: see test_reconstruct
    assert known(ImageEmbedder) == sorted([*TRY, *fitted])


def test_contract(embedder: FrozenEmbedder) -> None:
    images = blobs(3, 24, seed())[0]  # of another size than any network asks for
    tokens, pooled, maps = embedder.tokens(images), embedder.pooled(images), embedder.maps(images)
    assert tokens.shape == (3, *embedder.token_shape)
    assert pooled.ndim == 2 and len(pooled) == 3
    assert all(one.ndim == 4 and len(one) == 3 for one in maps) and len(maps) >= 2
    for one in (tokens, pooled, *maps):
        assert torch.isfinite(one).all() and not torch.equal(one[0], one[1])
    assert "random-features" in embedder.id


def test_frozen_but_differentiable(embedder: FrozenEmbedder) -> None:
    images = blobs(2, 32, seed())[0].requires_grad_()
    embedder.train()
    assert not any(module.training for module in embedder.modules())
    assert not any(parameter.requires_grad for parameter in embedder.parameters())
    seen = embedder(images)
    for one in (seen.tokens, seen.pooled, *seen.maps):
        (slope,) = torch.autograd.grad(one.square().sum(), images, retain_graph=True)
        assert torch.isfinite(slope).all() and slope.abs().sum() > 0


def test_a_picture_alone_is_seen_as_in_a_batch(embedder: FrozenEmbedder) -> None:
    images = blobs(4, 32, seed())[0]
    torch.testing.assert_close(
        embedder.pooled(images)[2:3], embedder.pooled(images[2:3]), rtol=1e-4, atol=1e-5
    )


def test_first_weights_come_from_the_generator_alone(embedder: FrozenEmbedder) -> None:
    part = embedder.part
    before = torch.get_rng_state()
    assert part.build(seed()).id == embedder.id == part.build().id
    assert part.build(seed(1)).id != embedder.id
    assert torch.equal(before, torch.get_rng_state())


def test_preparation_is_inside() -> None:
    """By its own definition: resize, less the mean, by the deviation of each colour."""
    images = blobs(2, 32, seed())[0]
    clip = Clip().build(seed())
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    with torch.no_grad():
        expected = clip.network(pixel_values=(images - mean) / std).image_embeds
    torch.testing.assert_close(clip.pooled(images), expected)


def library_clip() -> Any:
    config = transformers.CLIPVisionConfig(
        image_size=24, patch_size=6, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, projection_dim=20,
    )  # fmt: skip
    return transformers.CLIPVisionModelWithProjection(config)


def library_dinov2() -> Any:
    config = transformers.Dinov2WithRegistersConfig(
        image_size=28, patch_size=7, hidden_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return transformers.Dinov2WithRegistersModel(config)


def library_vit() -> Any:
    config = transformers.ViTConfig(
        image_size=24, patch_size=6, hidden_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    return transformers.ViTModel(config)


@pytest.mark.parametrize(
    ("make", "part"),
    [(library_clip, Clip()), (library_dinov2, Dinov2(registers=4)), (library_vit, Vit())],
    ids=["clip", "dinov2", "vit"],
)
def test_weights_of_a_folder(make: Callable[[], Any], part: ImageEmbedder, tmp_path: Path) -> None:
    """The same answers as the library's own model, with the tokens' class and registers left out."""
    model = make().eval()
    model.save_pretrained(tmp_path)
    found = part.model_copy(update={"weights": str(tmp_path)}).build()
    size = model.config.image_size
    images = blobs(2, size, seed())[0]
    with torch.no_grad():
        said = model(pixel_values=found.prepare(images))
    pooled = said.image_embeds if "image_embeds" in said else said.last_hidden_state[:, 0]
    torch.testing.assert_close(found.pooled(images), pooled)
    patches = (size // model.config.patch_size) ** 2
    torch.testing.assert_close(found.tokens(images), said.last_hidden_state[:, -patches:])
    assert "random" not in found.id and str(tmp_path) in found.id


def test_a_folder_says_its_own_colours(tmp_path: Path) -> None:
    library_vit().save_pretrained(tmp_path)
    image_processor = transformers.ViTImageProcessor(
        image_mean=[0.1, 0.2, 0.3], image_std=[1, 2, 3], resample=2
    )
    image_processor.save_pretrained(tmp_path)
    found = Vit(weights=str(tmp_path)).build().prepare
    assert (found.mean, found.std, found.mode, found.size) == ((0.1, 0.2, 0.3), (1, 2, 3), "bilinear", 24)


@pytest.mark.parametrize("name", ["test_convnext", "test_vit", "test_efficientnet"])
def test_timm_weights_of_a_folder(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval()
    timm.models.save_for_hf(model, tmp_path)
    found = Backbone(weights=str(tmp_path)).build()
    images = blobs(2, 48, seed())[0]
    with torch.no_grad():
        prepared = found.prepare(images)
        expected = model.forward_head(model.forward_features(prepared), pre_logits=True)
    torch.testing.assert_close(found.pooled(images), expected)
    assert "random" not in found.id


def test_published_vgg_gives_brain_its_tokens(tmp_path: Path) -> None:
    """Pictures of 112 pixels: 56² + 55² + 28² + 14² + 7² = 7190 tokens of 512, read where each stage ends."""
    torch.manual_seed(0)
    model = timm.create_model("vgg16_bn", pretrained=False).eval()
    small = {key: value for key, value in model.state_dict().items() if key.startswith("features.")}
    del model.pre_logits, model.head
    found = Vgg().build()
    found.network = model.features.requires_grad_(False)
    images = blobs(1, 112, seed())[0]
    assert found.token_shape == (7190, 512)
    expected, x = [], found.prepare(images)
    for index, layer in enumerate(model.features):
        x = layer(x)
        if index in (5, 12, 22, 32, 42):  # the published indices: the last rectified layer of each stage
            expected.append(x)
    for one, other in zip(found.maps(images), expected, strict=True):
        torch.testing.assert_close(one, other)
    assert len(small) == 13 * 7


def test_vgg_of_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = timm.create_model("test_resnet", pretrained=False)
    timm.models.save_for_hf(model, tmp_path)
    with pytest.raises(CheckpointError, match="is no VGG"):
        Vgg(weights=str(tmp_path)).build()


def test_maps_come_back_from_tokens() -> None:
    shapes = [(8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 2, 2)]
    maps = [torch.randn(2, *shape, generator=seed(k)) for k, shape in enumerate(shapes)]
    tokens = to_tokens(maps)
    assert tokens.shape == (2, sum(counts(shapes)), 64) and counts(shapes) == [64, 49, 16, 4]
    for one, back in zip(maps, to_maps(tokens, shapes), strict=True):
        torch.testing.assert_close(one, back)
    first = maps[0][:, :, :2, :2].flatten(1)  # a patch is its channels, each with its own four places
    torch.testing.assert_close(tokens[:, 0], first.repeat(1, 2))


def test_tokens_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="no whole multiple"):
        counts([(24, 4, 4), (64, 2, 2)])
    with pytest.raises(DataError, match="are not the 20 of 64"):
        to_maps(torch.zeros(1, 19, 64), [(32, 4, 4), (64, 2, 2)])


@pytest.mark.parametrize("part", [Clip, Dinov2, Vit, Vgg, Backbone])
def test_missing_weights_are_one_sentence(part: type[ImageEmbedder], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        part(weights=str(tmp_path / "none")).build()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BrainfmError, match="can't be loaded") as error:
        part(weights=str(tmp_path)).build()
    assert "\n" not in str(error.value)


def test_weights_that_lack_a_tensor_are_refused(tmp_path: Path) -> None:
    model = library_vit()
    state = {
        name: value
        for name, value in model.state_dict().items()
        if "layer.1" not in name and "layers.1" not in name
    }
    assert len(state) < len(model.state_dict())
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(CheckpointError, match="lacks"):
        Vit(weights=str(tmp_path)).build()


def test_unknown_architecture() -> None:
    with pytest.raises(RecipeError, match="resnet_of_mine"):
        Backbone(architecture="resnet_of_mine").build()


@pytest.mark.parametrize(
    "part", [Vgg(size=32, channels=[4, 8, 16]), Vit(depth=1, width=16, heads=2)], ids=["vgg", "vit"]
)
def test_trained_small_it_tells_pictures_better_than_at_random(part: ImageEmbedder) -> None:
    """Held-out thumbnails from the vector, by the same ridge regression."""
    images, other = blobs(192, 32, seed(1))[0], blobs(96, 32, seed(2))[0]
    random, trained = part.build(seed()), part.build(seed())
    losses = train_small(trained, images, seed(3), steps=200, batch=32, rate=5e-3)
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert "trained-here" in trained.id and not any(p.requires_grad for p in trained.parameters())
    assert explained(trained, images, other) > explained(random, images, other) + 0.05


def explained(embedder: FrozenEmbedder, images: Tensor, other: Tensor) -> float:
    """Share of the variance of held-out thumbnails that a ridge regression from the vector tells."""
    with torch.no_grad():
        x, z = embedder.pooled(images), embedder.pooled(other)
    y, true = resized(images, 8).flatten(1), resized(other, 8).flatten(1)
    z, x = (z - x.mean(0)) / x.std(0).clamp(min=1e-6), (x - x.mean(0)) / x.std(0).clamp(min=1e-6)
    told = z @ torch.linalg.solve(x.T @ x + 10 * torch.eye(x.shape[1]), x.T @ (y - y.mean(0))) + y.mean(0)
    return float(1 - (told - true).square().mean() / (true - y.mean(0)).square().mean())


def test_training_is_of_the_generator_alone() -> None:
    images, before = blobs(16, 32, seed(1))[0], torch.get_rng_state()
    runs = [train_small(Vit(depth=1).build(seed()), images, seed(k), steps=3, batch=4) for k in (5, 5, 6)]
    assert runs[0] == runs[1] != runs[2]
    assert torch.equal(before, torch.get_rng_state())


def test_published_weights_are_not_trained(tmp_path: Path) -> None:
    library_vit().save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match="not trained here"):
        train_small(Vit(weights=str(tmp_path)).build(), blobs(4, 24, seed())[0], seed(), steps=1)


def test_pictures_are_checked() -> None:
    assert rgb(np.zeros((2, 5, 5))).shape == (2, 3, 5, 5)
    assert rgb(np.ones((2, 1, 5, 5), np.uint8)).max() == 1
    with pytest.raises(DataError, match="divide bytes"):
        rgb(np.full((2, 5, 5), 255, np.uint8))
    with pytest.raises(DataError, match="finite"):
        rgb(np.full((2, 5, 5), np.nan))
    with pytest.raises(DataError, match="move the colours"):
        rgb(np.zeros((2, 5, 5, 3)))
    images = blobs(2, 8, seed())[0]
    torch.testing.assert_close(grey(images), (images * WEIGHTS.view(3, 1, 1)).sum(1))
    torch.testing.assert_close(resized(images, 8), images)
