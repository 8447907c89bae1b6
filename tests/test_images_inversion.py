"""Feature inversion finds the picture whose maps it is given, and not another."""

import pytest
import torch
from torch import Tensor

from brainfm.errors import DataError
from brainfm.images.codecs.pixels import Pixels
from brainfm.images.embedders.vgg import Vgg, VggEmbedder
from brainfm.images.inversion import Inversion, SkipNet, distance, invert
from tests.pictures_made import blobs

SHORT = {"steps": 60, "rate": 1e-2, "width": 16, "scales": 2, "noise": 8, "average": 0.9}


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def vgg() -> VggEmbedder:
    return Vgg(size=16, channels=[8, 16, 32]).build(seed())


@pytest.fixture(scope="module")
def images() -> Tensor:
    return blobs(3, 16, seed(4))[0]


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of pixels, picture by picture of one with each of the other."""
    a, b = ((one.flatten(1) - one.flatten(1).mean(1, keepdim=True)) for one in (a, b))
    return (a @ b.T) / (a.norm(dim=1)[:, None] * b.norm(dim=1)[None])


@pytest.mark.parametrize("kind", ["prior", "latents"])
def test_the_picture_comes_back(kind: str, vgg: VggEmbedder, images: Tensor) -> None:
    shares: list[float] = []
    losses: list[float] = []

    def tell(share: float, loss: float) -> None:
        shares.append(share)
        losses.append(loss)

    rate = {"prior": 1e-2, "latents": 1e-1}[kind]
    settings = Inversion.model_validate({**SHORT, "kind": kind, "rate": rate})
    codec = Pixels().build(seed())
    found = invert(vgg.maps(images), vgg, 16, settings, seed(), codec, tell)
    assert found.shape == images.shape and found.min() >= 0 and found.max() <= 1
    r = likeness(found, images)
    assert r.diag().min() > 0.85
    assert (r.argmax(dim=1) == torch.arange(3)).all()
    grey = distance(vgg.maps(torch.full_like(images, 0.5)), vgg.maps(images))
    assert distance(vgg.maps(found), vgg.maps(images)) < 0.25 * grey
    assert len(shares) == (3 if kind == "prior" else 1) * 60 and shares == sorted(shares) and shares[-1] == 1
    assert losses[59] < 0.3 * losses[0]


def test_of_the_generator_alone(vgg: VggEmbedder, images: Tensor) -> None:
    settings, before = Inversion.model_validate({**SHORT, "steps": 3}), torch.get_rng_state()
    maps = vgg.maps(images[:1])
    one, again, other = (invert(maps, vgg, 16, settings, seed(k)) for k in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_pictures_are_averaged(vgg: VggEmbedder, images: Tensor) -> None:
    """Without a mean the newest picture is given; the mean of two steps lies between the pictures of both."""
    maps = vgg.maps(images[:1])

    def after(steps: int, average: float) -> Tensor:
        settings = Inversion.model_validate({**SHORT, "steps": steps, "average": average})
        return invert(maps, vgg, 16, settings, seed())

    torch.testing.assert_close(after(2, 0.9), (after(1, 0.0) + after(2, 0.0)) / 2)


def test_jitter_is_drawn(vgg: VggEmbedder, images: Tensor) -> None:
    maps = vgg.maps(images[:1])
    found = [
        invert(maps, vgg, 16, Inversion.model_validate({**SHORT, "steps": 4, "jitter": one}), seed())
        for one in (0.0, 0.5)
    ]
    assert not torch.equal(*found)


def test_any_size_passes_the_hourglass() -> None:
    net = SkipNet(Inversion(width=8, scales=3, noise=4))
    assert net(torch.rand(1, 4, 28, 28)).shape == (1, 3, 28, 28)


def test_refused(vgg: VggEmbedder, images: Tensor) -> None:
    with pytest.raises(DataError, match="are not those of vgg"):
        invert(vgg.maps(images)[:2], vgg, 16, Inversion(), seed())
    with pytest.raises(DataError, match="needs a codec"):
        invert(vgg.maps(images), vgg, 16, Inversion(kind="latents"), seed())


def test_latents_of_many_pictures_descend_as_each_alone() -> None:
    """Without jitter nothing is drawn, and a picture's slope is its own."""
    images = blobs(3, 16, seed())[0]
    embedder = Vgg(size=16, channels=[8, 16]).build(seed())
    settings = Inversion(kind="latents", steps=20, rate=0.05, jitter=0.0)
    codec = Pixels().build(seed())
    with torch.no_grad():
        maps = embedder.maps(images)
    together = invert(maps, embedder, 16, settings, seed(), codec)
    alone = [
        invert([one[row : row + 1] for one in maps], embedder, 16, settings, seed(), codec)
        for row in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-3, rtol=0)
