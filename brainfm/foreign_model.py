"""Foreign: a model that brainfm did not make, where one that it did make is expected.

What a probe asks of a model: `manifest`, `recipe`, `prepare`, `steps`, `rows`, `features`, `twin`, `digest`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from brainfm.checkpoint import LoadReport
from brainfm.corpus import Stream
from brainfm.data.contract import Contract, plain
from brainfm.data.preprocess import Step, prepare
from brainfm.data.recording import Recording, Sensors
from brainfm.data.windows import Windows, n_samples
from brainfm.errors import CheckpointError, DataError
from brainfm.features import by_layout
from brainfm.manifest import Manifest
from brainfm.pooling import Pool, require_same

ALONG: dict[Pool, int] = {"sensor": 2, "time": 1}
"""The axis of (batch, sensor, time, width) over which a mean is taken."""


@dataclass(frozen=True)
class Shape:
    """What a network is built for: the sensors' names, places (sensor, 3; metres, NaN unknown) and labels, hertz, samples."""

    names: tuple[str, ...]
    position: NDArray[np.float64]
    sfreq: float
    n_times: int
    region: tuple[str, ...] = ()


class Network(Protocol):
    """A network that was built for windows of one shape: (batch, sensor, time) to (batch, …, width).

    `measured` (sensor,) says which sensors of the contract a recording has, where the contract masks those that are missing.
    """

    def __call__(
        self, signal: Float[Tensor, "batch sensor time"], measured: Bool[Tensor, " sensor"]
    ) -> Tensor: ...


class Maker(Protocol):
    """How a network comes about: `trained`, with its weights, or with the first weights of `seed`."""

    name: str
    pretrained: bool
    grid: bool
    """Whether it gives (batch, sensor, time, width), so that sensors can be kept apart."""

    def trained(self, shape: Shape) -> tuple[Network, LoadReport]: ...

    def untrained(self, shape: Shape, seed: int) -> Network | None:
        """None where the same network can't be had untrained."""
        ...

    def digest(self) -> str:
        """What its features depend on beside the shape; "" where that can't be told, so that none are kept."""
        ...


class Foreign:
    """A network of others under its contract. `seed` is that of an untrained twin, None for the network itself."""

    def __init__(
        self,
        maker: Maker,
        contract: Contract,
        manifest: Manifest | None = None,
        seed: int | None = None,
        remembered: dict[tuple[int | None, str], NDArray[np.float32]] | None = None,
    ) -> None:
        self.maker, self.contract, self.seed = maker, contract, seed
        self.remembered = {} if remembered is None else remembered
        """Features by seed and by what else they depend on, of a network of which none may be kept on disk."""
        self.manifest = manifest or Manifest()
        self.load_report = LoadReport(0)
        self.untouched = False
        """What a network of others has seen, nobody knows unless its manifest says so."""
        self._built: tuple[tuple[Any, ...], Network] | None = None

    @property
    def name(self) -> str:
        """What a report calls it."""
        return self.maker.name

    @property
    def recipe(self) -> dict[str, Any]:
        """What made it, as far as its name says; it stands where a checkpoint of brainfm has its recipe."""
        return {"seed": 0, "model": self.maker.name, "contract": self.contract.model_dump(mode="json")}

    @property
    def recipe_text(self) -> str:
        return ""

    @property
    def recipe_hash(self) -> str:
        return ""

    def require(self, modality: str) -> None:
        """Raise `DataError` for another instrument than it reads."""
        if modality != self.contract.modality:
            raise DataError(f"{self.maker.name} reads {self.contract.modality}, not {modality}")

    def steps(self, modality: str) -> Sequence[Step]:
        """The contract is the one step."""
        self.require(modality)
        return [self.contract]

    def prepare(self, recordings: Sequence[Recording], modality: str) -> list[Recording]:
        """The recordings as the contract has them. Raises `DataError` where one can't fulfil it."""
        return prepare(recordings, self.steps(modality), modality)

    def said(self, recordings: Sequence[Recording], seconds: float) -> list[str]:
        """What a reader of its scores must know: whether it has weights, how many were loaded, what recordings lack.

        The network is built for windows of `seconds`, so weights that don't cover it are refused here.
        """
        first = self.prepare(recordings[:1], self.contract.modality)[0].signal(self.contract.modality)
        self.network(self.shape(first.sensors, first.sfreq, n_samples(seconds, first.sfreq)))
        lacking = sorted({sentence for one in recordings if (sentence := self.contract.rates(one))})
        if not self.maker.pretrained:
            lacking.append(
                f"{self.maker.name} has no weights: its frozen features are those of an untrained network"
            )
        report = [f"{self.maker.name}: {self.load_report}"] if self.load_report.expected else []
        return [*report, *lacking]

    def shape(self, sensors: Sensors, sfreq: float, n_times: int) -> Shape:
        """What the network is built for, of a prepared recording's sensors."""
        names = tuple(self.contract.sensors) if self.masks else sensors.name
        return Shape(names, sensors.position, sfreq, n_times, sensors.region)

    def rows(self, recording: Recording, modality: str) -> tuple[str, ...]:
        """The sensors, where the network keeps them apart."""
        self.require(modality)
        return recording.signal(modality).sensors.name if self.maker.grid else ()

    def stream(self, prepared: Sequence[Recording], windows: Windows, modality: str) -> Stream:
        """Refused: how others make tokens is not known, only what comes out."""
        raise DataError(
            f"{self.maker.name} gives features and no tokens; take a protocol of pooled features, such as ridge"
        )

    def eval(self) -> "Foreign":
        """Itself: its networks are built for evaluation."""
        return self

    def features(
        self,
        prepared: Sequence[Recording],
        windows: Windows,
        modality: str,
        pool: Pool = "mean",
        batch: int = 32,
        apart: bool = False,
    ) -> NDArray[np.float32]:
        """Pooled features of prepared windows, (window, feature). Shorter rows end in zeros, where `apart` allows them."""
        self.contract.check_window(windows.seconds)
        if not apart:
            require_same(pool, {self.rows(one, modality) for one in prepared})
        stream = Stream(modality, prepared, windows, [self.contract])

        def told(part: NDArray[np.int64]) -> Float[Tensor, "row feature"]:
            sensors = prepared[windows.recording[part[0]]].signal(modality).sensors
            made = stream.batch(part)
            signal, measured = self.laid_out(made.signal, sensors.name)
            shape = self.shape(sensors, made.sfreq, signal.shape[2])
            return self.pooled(self.network(shape)(signal, measured), pool)

        return by_layout(stream, batch, told)

    @property
    def masks(self) -> bool:
        """Whether sensors that are missing are told to the network, and not left out."""
        return self.contract.missing == "mask" and bool(self.contract.sensors)

    def laid_out(
        self, signal: Float[Tensor, "batch sensor time"], names: Sequence[str]
    ) -> tuple[Float[Tensor, "batch wanted time"], Bool[Tensor, " wanted"]]:
        """The windows with a place for every sensor of the contract, and which of them were measured."""
        if not self.masks:
            return signal, torch.ones(signal.shape[1], dtype=torch.bool)
        have = {plain(name): row for row, name in enumerate(names)}
        rows = [have.get(plain(name), -1) for name in self.contract.sensors]
        measured = torch.tensor([row >= 0 for row in rows])
        whole = signal[:, [max(row, 0) for row in rows]] * measured[:, None]
        return whole, measured

    def network(self, shape: Shape) -> Network:
        """The network for windows of this shape, built once. Raises `DataError` where there is none untrained."""
        key = (shape.names, shape.position.tobytes(), shape.sfreq, shape.n_times, shape.region)
        if self._built is None or self._built[0] != key:
            self._built = (key, self._network(shape))
        return self._built[1]

    def _network(self, shape: Shape) -> Network:
        if self.seed is None:
            network, self.load_report = self.maker.trained(shape)
            return network
        found = self.maker.untrained(shape, self.seed)
        if found is None:
            raise DataError(f"{self.maker.name} can't be had untrained; say how with `untrained=`")
        return found

    def pooled(self, out: Tensor, pool: Pool) -> Float[Tensor, "batch feature"]:
        """One vector a window of whatever the network gives. Raises `DataError` for what it does not keep apart."""
        if not isinstance(out, Tensor) or out.ndim < 2:
            raise CheckpointError(f"{self.maker.name} gives no tensor (batch, …, width) of features")
        if not out.isfinite().all():
            raise CheckpointError(f"{self.maker.name} makes NaN or infinity of these windows")
        if pool == "all" or out.ndim == 2:
            return out.flatten(1)
        if pool == "mean":
            return out.flatten(1, -2).mean(dim=1)
        if not self.maker.grid or out.ndim != 4:
            raise DataError(f"{self.maker.name} does not keep sensors apart, so pool={pool} is not possible")
        if pool not in ALONG:
            raise DataError(
                f"{self.maker.name} says of no part where and when it is, so pool={pool} is not possible; "
                f"take mean, {', '.join(ALONG)} or all"
            )
        return out.mean(dim=ALONG[pool]).flatten(1)

    @property
    def has_twin(self) -> bool:
        """Whether the same network can be had untrained."""
        return self.seed is not None or getattr(self.maker, "has_twin", True)

    def anew(self) -> "Foreign":
        """The same without what it remembers: what is at hand may have changed since it was asked last."""
        return Foreign(self.maker, self.contract, self.manifest, self.seed)

    def twin(self, seed: int) -> "Foreign":
        """The same network untrained, with the first weights of `seed`, under the same contract."""
        return Foreign(self.maker, self.contract, self.manifest, seed, self.remembered)

    def digest(self) -> str:
        """A hash of what its features depend on beside windows and pooling; "" where that can't be told."""
        own = self.maker.digest()
        said = f"{own} {self.seed} {self.contract.model_dump_json()}"
        return hashlib.sha256(said.encode()).hexdigest() if own else ""


class Given:
    """The `Maker` of a network that is at hand: an `nn.Module` or any callable from (batch, sensor, time) to features."""

    def __init__(
        self,
        network: Callable[..., Any],
        name: str = "",
        grid: bool = False,
        masked: bool = False,
        untrained: Callable[[int], Callable[..., Any]] | None = None,
    ) -> None:
        self.given, self.grid, self.masked, self._untrained = network, grid, masked, untrained
        self.name = name or type(network).__name__
        self.pretrained = True
        self.has_twin = untrained is not None

    def trained(self, shape: Shape) -> tuple[Network, LoadReport]:
        """The network itself: whoever gives it has loaded it."""
        return self._as_network(self.given), LoadReport(0)

    def untrained(self, shape: Shape, seed: int) -> Network | None:
        """What `untrained(seed)` makes."""
        return None if self._untrained is None else self._as_network(self._untrained(seed))

    def digest(self) -> str:
        """Nothing: of what is at hand in Python the code may change, and no hash of its tensors would tell."""
        return ""

    def _as_network(self, network: Callable[..., Any]) -> Network:
        if isinstance(network, nn.Module):
            network.eval()

        def call(signal: Tensor, measured: Tensor) -> Tensor:
            out = network(signal, mask=measured) if self.masked else network(signal)
            out = out["features"] if isinstance(out, dict) else out
            return out if isinstance(out, Tensor) else torch.as_tensor(np.asarray(out))

        return call


def foreign(
    network: Callable[..., Any],
    contract: Contract | None = None,
    *,
    name: str = "",
    grid: bool = False,
    untrained: Callable[[int], Callable[..., Any]] | None = None,
    manifest: Manifest | None = None,
) -> Foreign:
    """Any `nn.Module` or callable (batch, sensor, time) → (batch, …, width), to be probed like a checkpoint.

    `contract` says what it must be given; without one, any EEG in volts. `grid=True`: its output is (batch, sensor, time, width).
    `untrained(seed)` makes the same network untrained, for the row that tells what training added. With a contract that masks
    missing sensors it is called with `mask=`, (sensor,) True where measured. What it saw is in `manifest`, else unknown.
    """
    asked = contract or Contract()
    masked = asked.missing == "mask" and bool(asked.sensors)
    return Foreign(Given(network, name, grid, masked, untrained), asked, manifest)
