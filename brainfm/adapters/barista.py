"""BaRISTA's released weights, brought by the user: `barista:lobes_chans@lobes_chans.safetensors`.

Oganesian et al. 2025 (arXiv:2512.12135): 3 s at 2048 Hz, each channel of each window at mean 0 and deviation 1. What a channel's
place is decides which of the three sets of weights can be used: a lobe, a Destrieux parcel, or a voxel of its authors' own space.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, Literal, Self

import torch
from jaxtyping import Int
from torch import Tensor

from brainfm.adapters import Adapter, weights_of
from brainfm.chance import seeded
from brainfm.checkpoint import LoadReport, refuse_partial, tensors_of
from brainfm.data.contract import Contract
from brainfm.data.lobes import lobe_of
from brainfm.errors import CheckpointError, DataError
from brainfm.foreign_model import Foreign, Network, Shape
from brainfm.layers.barista import Barista as Net
from brainfm.model import weights_digest

Variant = Literal["lobes_chans", "parcels_chans", "chans_chans"]
TABLES: dict[str, tuple[int, ...]] = {
    "lobes_chans": (21,),
    "parcels_chans": (121,),
    "chans_chans": (200, 200, 200),
}
"""Rows of the lookup tables; the first of lobes and parcels stands for an unknown place."""
LOBES = {
    "amygdala": 1,
    "hippocampus": 3,
    "frontal": 5,
    "parietal": 7,
    "temporal": 9,
    "cingulate": 13,
    "insula": 15,
    "putamen": 17,
    "inf-lat-vent": 19,
}
"""The row of the left side; the right one's follows. Rows 11 and 12, of the occipital lobe, were never trained."""
CONVERT = (
    'python -c "import sys; from torch import load; from safetensors.torch import save_file; '
    'save_file(load(sys.argv[1], weights_only=True), sys.argv[2])" {0}.ckpt {0}.safetensors'
)


class Barista(Adapter):
    """A set of weights by its authors' name, and its file. Parcels need `labels`: a text file of 121, in the table's order."""

    model: Variant
    weights: str = ""
    labels: str = ""

    @classmethod
    def of(cls, words: str) -> Self:
        """`lobes_chans` or `lobes_chans@file.safetensors`; a file of labels lies beside it as `file.labels.txt`."""
        model, weights = weights_of(words)
        if model not in TABLES:
            raise CheckpointError(f"barista:{model} is not known; it is one of {', '.join(TABLES)}")
        beside = Path(weights).with_suffix(".labels.txt") if weights else Path()
        named: Any = model
        return cls(model=named, weights=weights, labels=str(beside) if weights and beside.is_file() else "")

    def build(self) -> Foreign:
        """Raises `CheckpointError` where the file is not what it should be."""
        contract = Contract(modality="seeg", sfreq=2048.0, upsample=1.0, normalise="z_score", seconds=3.0)
        return Foreign(Maker(self), contract)


class Maker:
    """Builds the network; its sensors are kept apart."""

    grid = True
    has_twin = True

    def __init__(self, part: Barista) -> None:
        self.part = part
        self.name = f"barista:{part.model}" + (f"@{part.weights}" if part.weights else "")
        self.pretrained = bool(part.weights)
        self.state = weights(part.weights, part.model) if part.weights else {}
        self.labels = labels(part.labels) if part.labels else ()

    def trained(self, shape: Shape) -> tuple[Network, LoadReport]:
        """The network with the weights of the file, all of them and no others."""
        net = self._net(0)
        if not self.pretrained:
            return self._as_network(net, shape), LoadReport(0)
        report = load_strictly(net, self.state, self.name)
        return self._as_network(net, shape), report

    def untrained(self, shape: Shape, seed: int) -> Network:
        """The same with the first weights of `seed`."""
        return self._as_network(self._net(seed), shape)

    def digest(self) -> str:
        """Which network, its weights, and what labels mean."""
        net = self._net(0)
        if self.state:
            load_strictly(net, self.state, self.name)
        said = f"barista {self.part.model} {weights_digest(net)} {self.labels}"
        return hashlib.sha256(said.encode()).hexdigest()

    def _net(self, seed: int) -> Net:
        with seeded(seed):
            return Net(TABLES[self.part.model]).eval()

    def _as_network(self, net: Net, shape: Shape) -> Network:
        place = self.places(shape.region)

        def call(signal: Tensor, measured: Tensor) -> Tensor:
            return net(signal, place).transpose(1, 2)

        return call

    def places(self, region: tuple[str, ...]) -> Int[Tensor, "sensor table"]:
        """Each sensor's row of the lookup table. Raises `DataError` where labels can't be told."""
        if self.part.model == "chans_chans":
            raise DataError(
                f"{self.name} looks channels up by voxels of each of its own subjects' brains, which no other recording has; "
                "take parcels_chans or lobes_chans"
            )
        if self.part.model == "lobes_chans":
            rows = [lobe_row(label) for label in region]
        elif not self.labels:
            raise DataError(
                f"{self.name} needs the order of its parcels, one label a line, in {Path(self.part.weights).stem}.labels.txt "
                "beside the weights"
            )
        else:
            order = {spelled(label): row for row, label in enumerate(self.labels)}
            rows = [order.get(spelled(label), 0) for label in region]
        if not any(rows):
            raise DataError(
                f"no sensor has a label that {self.name} knows; say in the card which atlas labels them"
            )
        return torch.tensor(rows)[:, None]


def lobe_row(label: str) -> int:
    """The row of a label's lobe; 0 where it has none that was trained, or no side."""
    low = label.lower()
    word = next((name for name in ("amygdala", "hippocampus", "putamen", "inf-lat-vent") if name in low), "")
    lobe, _, side = lobe_of(label).partition("_") if not word else (word, "", side_of(label))
    return LOBES[lobe] + (side == "r") if lobe in LOBES and side else 0


def side_of(label: str) -> str:
    """ "l" or "r" by a label's words, "" where it says no side."""
    found = re.search(r"(?:^|[^a-z])(lh|rh|left|right|l|r)(?:[^a-z]|$)", label.lower())
    return found[1][0] if found else ""


def spelled(label: str) -> str:
    """A FreeSurfer label as the tables have it: upper case, with underscores."""
    return label.upper().replace("-", "_")


def weights(where: str, model: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises `CheckpointError` that says how to convert what its authors published."""
    file = Path(where)
    if file.suffix != ".safetensors" or not file.is_file():
        raise CheckpointError(
            f"{where} is no safetensors file; brainfm unpickles nothing, so convert what BaRISTA published once: "
            + CONVERT.format(model)
        )
    return tensors_of(file)


def load_strictly(net: Net, state: dict[str, Tensor], where: str) -> LoadReport:
    """Every tensor and no other. Raises `CheckpointError` that names the first that is amiss."""
    wanted = net.state_dict()
    report = LoadReport.of(wanted, state)
    refuse_partial(report, where)
    if report.unexpected:
        raise CheckpointError(f"{where} holds {report.unexpected[0]}, which is no tensor of this network")
    net.load_state_dict(state)
    return report


def labels(where: str) -> tuple[str, ...]:
    """The labels of parcels in the order of their rows. Raises `CheckpointError` for another number of them."""
    lines = tuple(
        line.strip() for line in Path(where).read_text(encoding="utf-8").splitlines() if line.strip()
    )
    if len(lines) != TABLES["parcels_chans"][0]:
        raise CheckpointError(f"{where} has {len(lines)} labels, not {TABLES['parcels_chans'][0]}")
    return lines
