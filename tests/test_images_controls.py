"""Controls tell a reconstruction from a generator that ignores the brain, one that copies, and one that its start carries."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from brainfm.errors import DataError
from brainfm.images.backbones import Weights
from brainfm.images.controls import Parts, Verdict, apart, derangement, dimensions, examine
from brainfm.images.grid import GAP, SIDE, grid, save_grid
from brainfm.images.scores.pix_corr import PixCorr
from brainfm.images.scores.ssim import Ssim
from brainfm.images.scores.two_way import TwoWay
from tests.pictures_made import blobs

VOXELS, PIXELS = 60, 12


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


class World:
    """Blobs, a brain of voxels that are linear in what makes them, and a ridge decoder from voxels to pixels."""

    def __init__(self) -> None:
        self.training, made = blobs(150, PIXELS, seed(1))
        self.seen, truth = blobs(40, PIXELS, seed(2))
        mixing = torch.randn(8, VOXELS, generator=seed(3))
        # voxels see brightness of places, so that pixels are linear in them
        self.field = torch.randn(3 * PIXELS**2, VOXELS, generator=seed(4)) / 20
        self.training_responses = self.voxels(self.training, made @ mixing, 5)
        self.responses = self.voxels(self.seen, truth @ mixing, 6)
        x = self.training_responses - self.training_responses.mean(0)
        y = self.training.flatten(1)
        self.mean = y.mean(0)
        self.decoder = torch.linalg.solve(x.T @ x + 5.0 * torch.eye(VOXELS), x.T @ (y - self.mean))

    def voxels(self, images: Tensor, kind: Tensor, number: int) -> Tensor:
        noise = torch.randn(len(images), VOXELS, generator=seed(number))
        return images.flatten(1) @ self.field * 5 + 0.1 * kind + 0.1 * noise

    def decode(self, responses: Tensor, draw: torch.Generator) -> Tensor:
        told = (responses - self.training_responses.mean(0)) @ self.decoder + self.mean
        return told.unflatten(1, (3, PIXELS, PIXELS)).clamp(0, 1)

    def nearest(self, responses: Tensor, draw: torch.Generator) -> Tensor:
        """Copies the training picture that the decoded one resembles most."""
        told = self.decode(responses, draw).flatten(1)
        return self.training[torch.cdist(told, self.training.flatten(1)).argmin(1)]

    def parts(self, **more: object) -> Parts:
        return Parts(training=self.training, training_responses=self.training_responses, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def finding(verdict: Verdict, name: str) -> bool | None:
    return next(one.ok for one in verdict.findings if one.name == name)


def ignores(responses: Tensor, draw: torch.Generator) -> Tensor:
    """Likely pictures, whatever the brain says."""
    return blobs(len(responses), PIXELS, draw)[0]


def test_a_decoder_passes(world: World) -> None:
    told: list[str] = []
    verdict = examine(
        world.decode, world.responses, world.seen, 0,
        world.parts(from_truth=lambda seen, draw: seen), {"PixCorr": PixCorr(size=32)}, progress=told.append,
    )  # fmt: skip
    assert verdict.ok, str(verdict)
    scores = {name: one.scored.scores[verdict.judge].score for name, one in verdict.controls.items()}
    assert verdict.whole.scored.scores[verdict.judge].score > 0.8
    for name in ("shuffled trials", "random subject", "mean response"):
        assert scores[name] == pytest.approx(0.5, abs=0.1), name
    assert scores["ground truth"] == 1.0
    assert told == ["whole", *verdict.controls]
    assert str(verdict).startswith("Controls behave. The pictures follow the brain")
    printed = json.loads(json.dumps(verdict.json))
    assert printed["ceiling"]["PixCorr"] == pytest.approx(1.0) and printed["verdict"]["ok"] is True
    assert set(printed["controls"]["mean response"]) == {"PixCorr", "two-way of pixels"}


def test_a_generator_that_ignores_the_brain_is_exposed(world: World) -> None:
    verdict = examine(ignores, world.responses, world.seen, 0, world.parts())
    assert not verdict.ok and finding(verdict, "shuffled trials") is False
    assert "Do not trust this reconstruction" in str(verdict) and "ignores the brain" in str(verdict)
    assert finding(verdict, "copies") is True and finding(verdict, "collapse") is True


def test_a_copier_is_exposed(world: World) -> None:
    """It follows the brain, and its pictures are of the training set."""
    verdict = examine(world.nearest, world.responses, world.seen, 0, world.parts())
    assert finding(verdict, "shuffled trials") is True
    assert finding(verdict, "copies") is False and not verdict.ok
    assert "copies training pictures: 100%" in str(verdict)
    assert verdict.facts["copies"] == 1 > verdict.facts["copies_seen"]
    assert finding(verdict, "retrieval") is None


def test_a_start_that_carries_all_is_exposed(world: World) -> None:
    """The condition, of which nothing is made, may be swapped; the start alone does as well."""

    def swap(first: Tensor, second: Tensor, draw: torch.Generator) -> Tensor:
        return world.decode(first, draw)

    verdict = examine(
        world.decode, world.responses, world.seen, 0, world.parts(start=world.decode, swap=swap)
    )
    assert finding(verdict, "shuffled trials") is True
    assert finding(verdict, "swapped condition") is False and finding(verdict, "start alone") is None
    assert "adds nothing to its start" in str(verdict) and not verdict.ok


def test_a_condition_that_counts_is_told(world: World) -> None:
    """A grey start, and a condition that all comes from."""
    verdict = examine(
        world.decode, world.responses, world.seen, 0,
        world.parts(
            start=lambda responses, draw: torch.full_like(world.seen, 0.5),
            swap=lambda first, second, draw: world.decode(second, draw),
        ),
    )  # fmt: skip
    assert (
        verdict.ok
        and finding(verdict, "swapped condition") is True
        and finding(verdict, "start alone") is True
    )


def test_collapse_is_told(world: World) -> None:
    """Pictures that follow the brain in one direction alone."""
    direction = torch.linspace(-1, 1, PIXELS).expand(3, PIXELS, PIXELS)

    def one(responses: Tensor, draw: torch.Generator) -> Tensor:
        told = world.decode(responses, draw)
        share = ((told - 0.5) * direction).mean((1, 2, 3), keepdim=True)
        return (0.5 + 4 * share * direction).clamp(0, 1)

    verdict = examine(one, world.responses, world.seen, 0, world.parts())
    assert finding(verdict, "collapse") is False and "collapsed" in str(verdict)
    assert verdict.facts["dimensions"] == pytest.approx(1, abs=0.2)


def test_dimensions() -> None:
    """Independent pixels of equal variance: nearly as many as there are; one direction: one; no variance: none."""
    made = torch.rand(2000, 3, 2, 2, generator=seed())
    wide = torch.nn.functional.interpolate(made, scale_factor=16.0, mode="nearest")
    assert dimensions(wide) == pytest.approx(12, rel=0.05)
    line = torch.rand(50, 1, 1, 1, generator=seed()) * made[:1]
    assert dimensions(line) == pytest.approx(1, abs=1e-3)
    assert dimensions(made[:1].expand(9, -1, -1, -1)) == 0


@pytest.mark.parametrize("count", [2, 5, 64])
def test_nothing_keeps_its_place(count: int) -> None:
    order = derangement(count, np.random.default_rng(count))
    assert (order != np.arange(count)).all() and sorted(order) == list(range(count))


def test_nobody_has_each_voxels_values_and_no_pattern() -> None:
    """Two voxels that always agree agree no more."""
    one = torch.randn(400, 1, generator=seed())
    made = apart(torch.cat([one, one + 5], dim=1), 300, np.random.default_rng(0))
    assert made.shape == (300, 2)
    assert made.mean(0).tolist() == pytest.approx([0, 5], abs=0.25)
    assert abs(np.corrcoef(made.T.numpy())[0, 1]) < 0.2


def test_same_seed_same_verdict(world: World) -> None:
    one, again = (examine(ignores, world.responses, world.seen, 3, world.parts()) for _ in range(2))
    assert str(one) == str(again)
    assert not torch.equal(
        one.whole.pictures, examine(ignores, world.responses, world.seen, 4).whole.pictures
    )


def test_judged_by_a_distance_less_is_better(world: World) -> None:
    from brainfm.images.embedders.vgg import Vgg
    from brainfm.images.scores.distance import Distance

    part = Distance(embedder=Vgg(size=32, channels=[8, 16, 32]))
    verdict = examine(world.decode, world.responses, world.seen, 0, world.parts(), {"far": part}, judge="far")
    assert finding(verdict, "shuffled trials") is True


def test_refused(world: World) -> None:
    with pytest.raises(DataError, match="response to each"):
        examine(world.decode, world.responses[:5], world.seen, 0)
    with pytest.raises(DataError, match=r"CLIP needs .*judge by another score"):
        examine(
            world.decode, world.responses, world.seen, 0, scores={"CLIP": TwoWay(features="clip")}, judge="CLIP",
            weights=Weights(),
        )  # fmt: skip


def test_ssim_of_a_mean_picture_is_no_chance(world: World) -> None:
    """Why the mean response stands beside every score: one blurred picture for all has a likeness far from none."""
    verdict = examine(world.decode, world.responses, world.seen, 0, world.parts(), {"SSIM": Ssim(size=64)})
    assert verdict.controls["mean response"].scored.scores["SSIM"].score > 0.3


def test_grid(world: World, tmp_path: Path) -> None:
    rows = {
        "seen": world.seen,
        "reconstructed <b>": world.decode(world.responses, seed()),
        "large": torch.rand(40, 3, 90, 90),
    }
    picture = grid(rows, "How they look.")
    assert (
        "seen" in picture.svg
        and "reconstructed &lt;b&gt;" in picture.svg
        and picture.caption == "How they look."
    )
    assert "12 pictures" in picture.svg and "data:image/png;base64" in picture.svg
    image = Image.open(save_grid(rows, tmp_path / "grid.png", columns=5))
    assert image.size == (5 * (SIDE + GAP) - GAP, 3 * (SIDE + GAP) - GAP)
    assert image.text["rows"] == "seen, reconstructed <b>, large"
    values = np.asarray(image)
    own = (world.seen[0] * 255).round().byte().permute(1, 2, 0).numpy()
    times = SIDE // PIXELS
    middle = values[SIDE // 2, SIDE // 2, :3].astype(int)
    assert (
        np.abs(middle - own[SIDE // 2 * PIXELS // SIDE, SIDE // 2 * PIXELS // SIDE]).max() < 40 and times > 1
    )
    assert values[SIDE + 1, 0, 3] == 0 and values[0, 0, 3] == 255
    with pytest.raises(DataError, match="as many pictures"):
        grid({"seen": world.seen, "other": world.seen[:3]})
