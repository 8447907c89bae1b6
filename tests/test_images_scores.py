"""Scores of reconstructions agree with their definitions, written apart, and have no number where something is missing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from torch import Tensor

from brainfm.errors import BrainfmError, DataError
from brainfm.images.backbones import BACKBONES, NotAtHand, Weights, extractor
from brainfm.images.embedders.vit import Vit
from brainfm.images.rgb import resized
from brainfm.images.scores import ImageScore, Reconstructed
from brainfm.images.scores.distance import Distance
from brainfm.images.scores.pix_corr import PixCorr
from brainfm.images.scores.retrieval import Retrieval
from brainfm.images.scores.ssim import Ssim, ssim
from brainfm.images.scores.two_way import TwoWay, identified
from brainfm.images.suite import PUBLISHED, interval, score
from brainfm.part import known
from tests.pictures_made import blobs

EMBEDDER = Vit(depth=1)
OURS: dict[str, ImageScore] = {
    "PixCorr": PixCorr(size=64),
    "SSIM": Ssim(size=64),
    "pixels": TwoWay(features="pixels"),
    "two-way": TwoWay(embedder=EMBEDDER),
    "distance": Distance(embedder=EMBEDDER),
    "image": Retrieval(of="image"),
    "brain": Retrieval(of="brain"),
}


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def seen() -> Tensor:
    return blobs(24, 20, seed(1))[0]


@pytest.fixture(scope="module")
def other() -> Tensor:
    """As many pictures that have nothing to do with those seen."""
    return blobs(24, 32, seed(2))[0]


@pytest.fixture(autouse=True)
def nothing_cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights but those that a test writes."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def with_tokens(seen: Tensor, pictures: Tensor) -> Reconstructed:
    embedder = EMBEDDER.build()
    return Reconstructed(seen, pictures, embedder.tokens(pictures), embedder.tokens(seen), embedder.id)


def test_truth_is_perfect(seen: Tensor) -> None:
    found = score(with_tokens(seen, seen), rng(), OURS)
    for name, one in found.scores.items():
        perfect = 0.0 if name == "distance" else 1.0
        assert one.score == pytest.approx(perfect, abs=1e-6), name
        assert one.low == pytest.approx(perfect, abs=1e-6) and one.high == pytest.approx(perfect, abs=1e-6)
        assert one.n_test == 24 and not one.reason


def test_random_pairs_are_at_chance() -> None:
    seen, other = blobs(120, 8, seed(1))[0], blobs(120, 8, seed(2))[0]
    found = score(Reconstructed(seen, other), rng(), {k: OURS[k] for k in ("PixCorr", "pixels", "two-way")})
    for name in ("pixels", "two-way"):
        one = found.scores[name]
        assert one.score == pytest.approx(0.5, abs=0.05) and one.chance == 0.5
        assert one.low is not None and one.high is not None and one.low < 0.5 < one.high
    assert found.scores["PixCorr"].score == pytest.approx(0.0, abs=0.1)


def test_better_pictures_score_better(seen: Tensor, other: Tensor) -> None:
    """Every score prefers less of another picture mixed in."""
    mixed = [with_tokens(seen, (1 - share) * seen + share * resized(other, 20)) for share in (0.2, 0.5, 0.9)]
    found = [score(one, rng(), OURS) for one in mixed]
    for name, part in OURS.items():
        told = [one.scores[name].score for one in found]
        assert (sorted(told, reverse=part.higher_is_better) == told) and told[0] != told[2], name


def definition_of_ssim(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Wang et al. 2004 by scipy's own filter, borders cut where the window would leave the picture."""

    def blur(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(gaussian_filter(x, 1.5, truncate=3.5, mode="reflect"))

    ux, uy = blur(a), blur(b)
    vx, vy, vxy = blur(a * a) - ux * ux, blur(b * b) - uy * uy, blur(a * b) - ux * uy
    c1, c2 = 0.01**2, 0.03**2
    made = ((2 * ux * uy + c1) * (2 * vxy + c2)) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))
    return float(made[5:-5, 5:-5].mean())


def test_ssim_is_as_defined(seen: Tensor, other: Tensor) -> None:
    other = (other + 0.3 * torch.randn(other.shape, generator=seed(4))).clamp(0, 1)
    found = Ssim()(Reconstructed(seen[:3], other[:3]), Weights(), rng())
    grey = [
        np.einsum(
            "bchw,c->bhw", resized(resized(one[:3], 256), 425).double().numpy(), (0.2125, 0.7154, 0.0721)
        )
        for one in (seen, other)
    ]
    expected = [definition_of_ssim(a, b) for a, b in zip(*grey, strict=True)]
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.resize == "256, then 425 bilinear antialiased"
    assert max(found.values) < 0.9


def test_ssim_as_scikit_image(seen: Tensor, other: Tensor) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    a, b = (resized(one, 40)[:, 0].double() for one in (seen, other))
    expected = [
        metrics.structural_similarity(
            x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
        )
        for x, y in zip(a.numpy(), b.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ssim(a, b).numpy(), expected, atol=1e-9)


def test_pix_corr_is_as_defined(seen: Tensor, other: Tensor) -> None:
    found = PixCorr()(Reconstructed(seen[:3], other[:3]), Weights(), rng())
    a, b = (resized(resized(one[:3], 256), 425).flatten(1).numpy() for one in (seen, other))
    np.testing.assert_allclose(
        found.values, [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)], atol=1e-5
    )


def test_two_way_is_as_defined(seen: Tensor, other: Tensor) -> None:
    noisy = 0.3 * seen + 0.7 * resized(other, 20)
    found = TwoWay(features="pixels")(Reconstructed(seen, noisy), Weights(), rng())
    a, b = (resized(resized(one, 256), 64).flatten(1).double().numpy() for one in (seen, noisy))
    r = np.corrcoef(a, b)[:24, 24:]
    expected = [np.mean([r[i, j] < r[j, j] for i in range(24) if i != j]) for j in range(24)]
    np.testing.assert_allclose(found.values, expected)
    assert 0.5 < found.values.mean() < 1


def test_ties_are_failures(seen: Tensor) -> None:
    """Pictures that are all alike identify nothing; one reconstruction for all scores what chance does."""
    same = seen[:1].expand(24, -1, -1, -1)
    assert TwoWay(features="pixels")(Reconstructed(same, seen), Weights(), rng()).values.max() == 0
    flat = torch.full_like(seen, 0.5)
    assert TwoWay(features="pixels")(Reconstructed(seen, flat), Weights(), rng()).values.max() == 0
    one = TwoWay(features="pixels")(Reconstructed(seen, same), Weights(), rng())
    assert one.values.mean() == pytest.approx(0.5, abs=1e-9)
    np.testing.assert_allclose(identified(np.array([[0.5, 0.1], [0.5, 0.2]])), [0, 1])


def test_retrieval_both_ways() -> None:
    """A prediction that lies near all finds no picture, but its picture finds it; of two that are the same neither is found."""
    target = torch.eye(6)[:, None]
    predicted = torch.eye(6)[:, None].clone()
    predicted[0, 0] = 10.0  # equally near to all
    images = torch.zeros(6, 3, 4, 4)
    found = Reconstructed(images, images, predicted, target, "an embedder")
    image, brain = (Retrieval(of=of)(found, Weights(), rng()) for of in ("image", "brain"))
    assert image.values.tolist() == [0, 1, 1, 1, 1, 1]
    assert brain.values.tolist() == [1, 1, 1, 1, 1, 1]
    predicted[0] = predicted[1]
    image, brain = (Retrieval(of=of)(found, Weights(), rng()) for of in ("image", "brain"))
    assert image.values.tolist() == [0, 1, 1, 1, 1, 1] and brain.values.tolist() == [0, 0, 1, 1, 1, 1]
    assert image.chance == pytest.approx(1 / 6) and image.note == "all 6 as candidates"
    assert image.backbone == "an embedder"


def test_retrieval_in_draws() -> None:
    """Fewer candidates are easier: by chance alone one of `candidates`."""
    random = [torch.randn(400, 1, 8, generator=seed(k)) for k in (1, 2)]
    images = torch.zeros(400, 3, 1, 1)
    found = Retrieval(candidates=10, draws=200)(Reconstructed(images, images, *random), Weights(), rng())
    assert np.nanmean(found.values) == pytest.approx(0.1, abs=0.03) and found.chance == 0.1
    assert found.note == "200 draws of 10 candidates"


def test_what_is_missing_is_a_reason(seen: Tensor) -> None:
    found = score(Reconstructed(seen[:4], seen[:4]), rng())
    without = {name for name, one in found.scores.items() if one.score is None}
    assert without == PUBLISHED.keys() - {"PixCorr", "SSIM"}
    for name in without:
        one = found.scores[name]
        assert one.reason.startswith("needs ") and one.low is None and one.n_test == 4 and one.version == "1"
    assert "alexnet-owt-7be5be79.pth" in found.scores["AlexNet(2)"].reason
    assert "openai/clip-vit-large-patch14" in found.scores["CLIP"].reason
    assert json.loads(json.dumps(found.json))["SwAV"]["score"] is None


def state_of(name: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {key: value.contiguous() for key, value in BACKBONES[name].make().state_dict().items()}


def test_weights_of_a_folder_are_used(seen: Tensor, tmp_path: Path) -> None:
    """AlexNet's own layers, of a file in torch's format; the id tells one file from another."""
    state = state_of("alexnet_2")
    torch.save(state, tmp_path / "alexnet-owt-7be5be79.pth")
    weights = Weights((tmp_path,))
    chosen = extractor("alexnet_2", weights)
    with torch.device("meta"):
        net = torchvision.models.alexnet(weights=None).eval()
    net.load_state_dict(state, assign=True)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (resized(seen[:2], 256) - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.no_grad():
        second, fifth = net.features[:5](x).flatten(1), net.features[:12](x).flatten(1)
    np.testing.assert_allclose(chosen.features(seen[:2]), second.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        extractor("alexnet_5", weights).features(seen[:2]), fifth.numpy(), rtol=1e-4, atol=1e-5
    )
    assert second.shape[1] == 192 * 31 * 31
    assert chosen.resize == "256 bilinear antialiased" and chosen.id.startswith("alexnet_2 ")
    save_file({name: value + 1 for name, value in state.items()}, tmp_path / "alexnet.safetensors")
    (tmp_path / "alexnet-owt-7be5be79.pth").unlink()
    assert extractor("alexnet_2", Weights((tmp_path,))).id != chosen.id


@pytest.mark.parametrize(
    ("name", "file", "width"),
    [
        ("inception", "inception_v3.safetensors", 2048),
        ("efficientnet", "efficientnet_b1.safetensors", 1280),
        ("swav", "swav_resnet50.safetensors", 2048),
    ],
)
def test_other_networks_are_read(name: str, file: str, width: int, seen: Tensor, tmp_path: Path) -> None:
    state = state_of(name)
    save_file({f"module.{key}": value for key, value in state.items()}, tmp_path / file)
    assert extractor(name, Weights((tmp_path,))).features(seen[:2]).shape == (2, width)
    state.pop(sorted(state)[-1])
    save_file(state, tmp_path / file)
    with pytest.raises(NotAtHand, match=r"that .* lacks"):
        extractor(name, Weights((tmp_path,)))


def test_clip_of_a_folder(seen: Tensor, tmp_path: Path) -> None:
    from tests.test_images_embedders import library_clip

    library_clip().save_pretrained(tmp_path / "clip-vit-large-patch14")
    found = score(Reconstructed(seen, seen), rng(), {"CLIP": PUBLISHED["CLIP"]}, Weights((tmp_path,)))
    assert found.scores["CLIP"].score == 1.0
    assert found.scores["CLIP"].resize == "256 bilinear antialiased, then 24 bilinear antialiased"


def test_random_features_are_named(seen: Tensor) -> None:
    found = score(Reconstructed(seen, seen), rng(), {"two-way": OURS["two-way"]})
    assert "random-features" in found.scores["two-way"].backbone


def test_intervals_hold_the_mean() -> None:
    values = rng().normal(3.0, 1.0, 50)
    mean, low, high = interval(values, rng())
    assert mean == pytest.approx(values.mean())
    half = 2.01 * values.std(ddof=1) / np.sqrt(50)
    assert low == pytest.approx(mean - half, rel=0.15, abs=0.1) and high == pytest.approx(
        mean + half, rel=0.15, abs=0.1
    )


def test_families() -> None:
    assert known(ImageScore) == ["distance", "pix_corr", "retrieval", "ssim", "two_way"]
    part = ImageScore.model_validate({"kind": "two_way", "embedder": {"kind": "vit", "depth": 1}})
    assert part == OURS["two-way"] and part.model_dump()["embedder"]["kind"] == "vit"
    with pytest.raises(ValueError, match="either"):
        TwoWay()


def test_refused(seen: Tensor) -> None:
    with pytest.raises(DataError, match="as many"):
        Reconstructed(seen, seen[:5])
    with pytest.raises(DataError, match="two pictures"):
        Reconstructed(seen[:1], seen[:1])
    with pytest.raises(DataError, match="not finite"):
        Reconstructed(seen, seen * torch.nan)
    with pytest.raises(BrainfmError, match="did you mean 'alexnet_2'"):
        TwoWay(features="alexnet2")(Reconstructed(seen, seen), Weights(), rng())
