"""Real voxels and the digits that were seen (van Gerven et al. 2010): what a ridge decoder reaches, and what controls say."""

import numpy as np
import pytest
import torch
from torch import Tensor

from brainfm.data.cards import DataCard, data_root
from brainfm.images.controls import Parts, Verdict, examine
from brainfm.images.rgb import rgb
from brainfm.images.scores.ssim import Ssim

JUDGE = "two-way of pixels"


class Digits:
    """A third of the 90 trials is tested, and a ridge decoder from voxels to pixels knows the others."""

    def __init__(self) -> None:
        (recording,) = DataCard.load("fmri_digits69").recordings()
        voxels = torch.from_numpy(np.asarray(recording.signal("fmri").load().T, np.float32))
        images = np.asarray(recording.tracks["image"].data, np.float64)
        pictures = rgb((images / images.max()).reshape(len(voxels), 28, 28))
        tested = torch.arange(len(voxels)) % 3 == 0
        self.seen, self.training = pictures[tested], pictures[~tested]
        self.responses, self.known = voxels[tested], voxels[~tested]
        z, y = self.standard(self.known), self.training.flatten(1)
        self.mean = y.mean(0)
        self.dual = torch.linalg.solve(z @ z.T + 3000 * torch.eye(len(z)), y - self.mean)

    def standard(self, voxels: Tensor) -> Tensor:
        return (voxels - self.known.mean(0)) / (self.known.std(0) + 1e-6)

    def decode(self, responses: Tensor, draw: torch.Generator) -> Tensor:
        told = self.standard(responses) @ self.standard(self.known).T @ self.dual + self.mean
        return told.unflatten(1, (3, 28, 28)).clamp(0, 1)

    def copy(self, responses: Tensor, draw: torch.Generator) -> Tensor:
        told = self.decode(responses, draw).flatten(1)
        return self.training[torch.cdist(told, self.training.flatten(1)).argmin(1)]


@pytest.fixture(scope="module")
def digits() -> Digits:
    if not (data_root() / "fmri_digits69").is_dir():
        pytest.skip("fmri_digits69 is not in BRAINFM_DATA")
    return Digits()


def scored(verdict: Verdict, name: str, metric: str = JUDGE) -> float:
    control = verdict.whole if name == "whole" else verdict.controls[name]
    found = control.scored.scores[metric].score
    assert found is not None
    return found


def test_ridge_follows_the_brain_and_hardly_beats_retrieval(digits: Digits) -> None:
    """Without the brain .50 is left, and one mean picture has most of the SSIM; the likest training digit does as well."""
    parts = Parts(training=digits.training, training_responses=digits.known)
    verdict = examine(digits.decode, digits.responses, digits.seen, 0, parts, {"SSIM": Ssim(size=112)})
    assert verdict.ok, str(verdict)
    assert scored(verdict, "whole") > 0.75
    for name in ("shuffled trials", "random subject", "mean response"):
        assert scored(verdict, name) == pytest.approx(0.5, abs=0.1), name
    assert scored(verdict, "mean response", "SSIM") > 0.75 * scored(verdict, "whole", "SSIM")
    assert "resembles most does as well" in str(verdict)


def test_a_copier_of_digits_is_exposed(digits: Digits) -> None:
    parts = Parts(training=digits.training, training_responses=digits.known)
    verdict = examine(digits.copy, digits.responses, digits.seen, 0, parts)
    assert scored(verdict, "whole") > 0.7
    assert not verdict.ok and "copies training pictures: 100%" in str(verdict)
