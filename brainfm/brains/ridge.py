"""Ridge regression from voxels to features, a map for every person: what few trials of one person allow."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.brain_features import FeatureShape
from brainfm.brains import Brain, names_of
from brainfm.data.seen import Rows, Seen
from brainfm.errors import DataError
from brainfm.ridge import Ridge as Regression
from brainfm.trials import Pairs


class Ridge(Brain):
    """The penalty is chosen on pictures that were left out, one for all features of a name."""

    stages: ClassVar[bool] = False

    def build(self, shapes: Mapping[str, FeatureShape], seed: int) -> "RidgeFeatures":
        return RidgeFeatures(shapes)


class RidgeFeatures(nn.Module):
    """`(trial, voxel) -> features by name`; linear, so that it is kept as a slope and an offset."""

    def __init__(self, shapes: Mapping[str, FeatureShape]) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        self.slope, self.offset = nn.ParameterDict(), nn.ParameterDict()

    def adopt(self, people: Sequence[Seen], seed: int) -> None:
        """Make room for people who are new."""
        for one in people:
            for name, shape in self.shapes.items():
                if (key := key_of(one, name)) not in self.slope:
                    size = shape.tokens * shape.width
                    self.slope[key] = frozen(torch.zeros(len(one.voxels), size))
                    self.offset[key] = frozen(torch.zeros(size))

    def solve(self, people: Sequence[Pairs]) -> None:
        """Fit everybody's maps on all of these trials."""
        self.adopt([one.seen for one in people], 0)
        for one in people:
            for name in self.shapes:
                fitted = solved(one, name, np.arange(len(one.seen)))
                still = np.zeros((1, one.seen.response.shape[1]), np.float32)
                offset = fitted.predict(still)[0]
                # a linear map is its values at the unit vectors, of which a few are asked for at a time
                slope = np.concatenate([fitted.predict(part) - offset for part in units(still.shape[1])])
                key = key_of(one.seen, name)
                self.slope[key] = frozen(torch.from_numpy(slope).float())
                self.offset[key] = frozen(torch.from_numpy(offset).float())

    @torch.no_grad()
    def predict(
        self, seen: Seen, rows: Rows | None = None, names: Sequence[str] | None = None
    ) -> dict[str, Float[Tensor, "trial token width"]]:
        """Features of trials. Raises `DataError` for a person whose map was not fitted."""
        response = torch.from_numpy(seen.response if rows is None else seen.response[rows])
        found = {}
        for name in names_of(names, self.shapes):
            key, shape = key_of(seen, name), self.shapes[name]
            if key not in self.slope:
                raise DataError(f"{seen.who} has no map of its own; fit on this person first")
            told = response @ self.slope[key] + self.offset[key]
            found[name] = told.unflatten(1, (shape.tokens, shape.width))
        return found


def out_of_fold(pairs: Pairs, name: str, folds: int = 10) -> Float[Tensor, "trial token width"]:
    """What ridge tells of each trial when fitted without any trial of its picture; `folds` of pictures in the table's order."""
    true = pairs.targets(np.arange(len(pairs.seen)), (name,))[0]
    told = np.zeros((len(true), true[0].numel()), np.float32)
    for held in np.array_split(np.unique(pairs.seen.picture), folds):
        out = np.isin(pairs.seen.picture, held)
        fitted = solved(pairs, name, np.flatnonzero(~out))
        told[out] = fitted.predict(pairs.seen.response[out])
    return torch.from_numpy(told).reshape(true.shape)


def solved(pairs: Pairs, name: str, rows: Rows) -> Regression:
    """Ridge on some of the trials; repeats of a picture are left out together."""
    true = pairs.targets(rows, (name,))[0].flatten(1).double().numpy()
    return Regression().fit(pairs.seen.response[rows], true, mixed(pairs.seen.picture[rows]))


def mixed(picture: Rows) -> Rows:
    """The pictures' numbers in an order of no meaning: a table may list one kind first, and folds are runs of numbers."""
    each, back = np.unique(picture, return_inverse=True)
    return np.random.default_rng(0).permutation(len(each))[back]


def units(size: int, at_once: int = 1024) -> list[NDArray[np.float32]]:
    """The unit vectors, a thousand at a time."""
    return [
        np.eye(min(at_once, size - first), size, first, dtype=np.float32) for first in range(0, size, at_once)
    ]


def frozen(values: Tensor) -> nn.Parameter:
    """Solved, not trained."""
    return nn.Parameter(values, requires_grad=False)


def key_of(seen: Seen, name: str) -> str:
    """Under what name a person's map is kept: a dot would divide it."""
    return f"{seen.who} {name}".replace(".", "_")
