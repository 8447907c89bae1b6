"""Cost: what a pretraining run asks for, before anything is downloaded. Recipes and the facts of cards are all that is read.

A step of two made-up windows of each card is run with an encoder of one block and one of two. Blocks are alike, so parameters,
operations and memory grow by the same amount with each, and the recipe's depth follows without being built.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brainfm import operations
from brainfm.batch import Batch
from brainfm.chance import Chance
from brainfm.corpus import Stream
from brainfm.data.cards import DataCard
from brainfm.data.modalities import modality
from brainfm.data.recording import Recording, Sensors, Signal
from brainfm.errors import DataError
from brainfm.gather import cut
from brainfm.learner import Learner, learner
from brainfm.precision import settled
from brainfm.recipe import PretrainRecipe, SignalRecipe

WINDOWS = 2
RATE = 5.0
"""Spikes of a made-up neuron in a second."""
DEVICES = {"A100": 312e12, "H100": 989e12, "RTX 4090": 165e12}
"""Operations a second in bf16 without sparsity, as NVIDIA's data sheets say."""
SHARE = 0.6
"""Of a machine's rate for large products that training steps here reach (`benchmarks/SPEED.md`), measured on a CPU alone."""


@dataclass(frozen=True)
class Counted:
    """A step of `WINDOWS` windows: weights, operations of its products, bytes kept for the backward pass, seconds it took."""

    parameters: float
    flops: float
    kept: float
    seconds: float

    def at(self, depth: int, deeper: "Counted") -> "Counted":
        """The same with so many blocks, where this is with one and `deeper` with two."""
        pairs = zip(vars(self).values(), vars(deeper).values(), strict=True)
        return Counted(*(one + (depth - 1) * (two - one) for one, two in pairs))


@dataclass(frozen=True)
class Cost:
    """What one run of a recipe costs. Cards are taken to give as many windows as each other."""

    recipe: PretrainRecipe
    tokens: dict[str, int]
    """By card, of one window and before any is hidden."""
    steps: dict[str, Counted]
    """By card."""

    @property
    def parameters(self) -> int:
        """That are trained; what tokenizers remember of single sensors is the largest card's."""
        return round(max(one.parameters for one in self.steps.values()))

    @property
    def windows(self) -> dict[str, float]:
        """Of each card, in one step."""
        train = self.recipe.train
        return {card: train.tokens / n if train.tokens else train.batch for card, n in self.tokens.items()}

    @property
    def flops_per_step(self) -> float:
        """Operations of the products of one step, forward and backward; the mean over cards."""
        return self._mean(lambda one: one.flops)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes on one device that does the whole step: weights, gradients and Adam's two moments in float32, and what one
        micro-batch of the dearest card keeps for the backward pass."""
        kept = max(one.kept / WINDOWS * self.windows[card] for card, one in self.steps.items())
        weights = 4 * self.parameters
        parts = {"parameters": weights, "gradients": weights, "optimiser": 2 * weights}
        parts["activations"] = round(kept / self.recipe.train.accumulate)
        return {**parts, "total": sum(parts.values())}

    @property
    def hours(self) -> dict[str, float]:
        """Of the whole run, by device: named ones at `SHARE` of their rate, this machine at that of the steps run here."""
        steps = self.recipe.train.steps
        named = {name: steps * self.flops_per_step / (SHARE * rate) / 3600 for name, rate in DEVICES.items()}
        return {**named, "this machine": steps * self._mean(lambda one: one.seconds) / 3600}

    def _mean(self, what: Callable[[Counted], float]) -> float:
        """Over cards, of something that grows with the windows."""
        each = [what(one) / WINDOWS * self.windows[card] for card, one in self.steps.items()]
        return sum(each) / len(each)

    @property
    def json(self) -> dict[str, Any]:
        """What `show --cost --json` prints."""
        return {
            "parameters": self.parameters,
            "tokens_per_window": self.tokens,
            "flops_per_step": round(self.flops_per_step),
            "memory": self.memory,
            "hours": {name: float(f"{hours:.3g}") for name, hours in self.hours.items()},
        }

    @property
    def text(self) -> str:
        """The same for a reader."""
        tokens = ", ".join(f"{count} ({card})" for card, count in self.tokens.items())
        memory = ", ".join(f"{name} {size / 2**20:.0f}" for name, size in self.memory.items())
        hours = [f"  {name}: {hours:.3g}" for name, hours in self.hours.items()]
        return "\n".join(
            [
                f"parameters: {self.parameters / 1e6:.2f} million",
                f"tokens in a window: {tokens}",
                f"operations in a step: {self.flops_per_step / 1e12:.3g} × 10¹²",
                f"memory in MiB: {memory}",
                f"hours for {self.recipe.train.steps} steps, at best: named devices at {SHARE:.0%} of their bf16 rate",
                *hours,
            ]
        )


def cost(recipe: PretrainRecipe) -> Cost:
    """Count what a recipe asks for; windows of several instruments at once (`together`) count as windows of each.

    Raises `DataError` where a card holds nothing that the recipe has signals for, or doesn't state how many sensors it has.
    """
    steps, tokens = {}, {}
    for name in recipe.data.cards:
        card = DataCard.load(name)
        held = sensors_of(card, recipe)
        for modality_, sensors in held.items():
            word = card.name if len(held) == 1 else f"{card.name}: {modality_}"
            stream = pretend(modality_, sensors, recipe.signals[modality_])
            one, two = (counted(shallow(recipe, depth), stream) for depth in (1, 2))
            steps[word] = one.at(recipe.encoder.depth, two)
            tokens[word] = network(shallow(recipe, 1), stream).model.tokenize(windows(stream)).tokens.count
    return Cost(recipe, tokens, steps)


def sensors_of(card: DataCard, recipe: PretrainRecipe) -> dict[str, int]:
    """How many sensors a card has of each modality that the recipe has signals for.

    As the card states or, where it is simulated, as its first recording has. Raises `DataError` where nothing says.
    """
    if card.simulated:
        signals = card.recordings(1)[0].signals
        found = {name: len(one.sensors) for name, one in signals.items() if name in recipe.signals}
    else:
        found = {card.modality: card.facts.sensors if card.facts and card.facts.sensors else 0}
    if not found.keys() & recipe.signals.keys():
        raise DataError(
            f"{card.name} holds {card.modality}, the recipe has signals of {', '.join(recipe.signals)} alone; add what is missing"
        )
    if not all(found.values()):
        raise DataError(
            f"{card.name} doesn't state facts.sensors, without which its cost can't be told; add it"
        )
    return found


def shallow(recipe: PretrainRecipe, depth: int) -> PretrainRecipe:
    """The same with so many blocks."""
    return recipe.model_copy(update={"encoder": recipe.encoder.model_copy(update={"depth": depth})})


def windows(stream: Stream) -> Batch:
    """`WINDOWS` of them that share a layout."""
    return stream.batch(max(stream.layouts, key=len)[:WINDOWS])


def network(recipe: PretrainRecipe, stream: Stream) -> Learner:
    """The untrained network, of this instrument alone."""
    own = {stream.modality: recipe.signals[stream.modality]}
    return learner(recipe.model_copy(update={"signals": own}), {stream.modality: stream})


def counted(recipe: PretrainRecipe, stream: Stream) -> Counted:
    """Run a step a few times: to see how long it takes once it is warm, and to count."""
    net, batch, precision = network(recipe, stream).train(), windows(stream), settled(recipe.train.precision)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = net((batch,), Chance(recipe.seed)).total
        loss.backward()
        net.zero_grad(set_to_none=True)

    seconds = min(timed(step) for _ in range(3))
    kept: dict[int, int] = {}
    own = {one.untyped_storage().data_ptr() for one in net.parameters()}
    with operations.counter() as counter, keeping(kept, own):
        step()
    parameters = sum(one.numel() for one in net.parameters())
    return Counted(parameters, counter.get_total_flops(), sum(kept.values()), seconds)


def timed(call: Callable[[], None]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def keeping(kept: dict[int, int], own: set[int]) -> Any:
    """While it lasts, note the bytes of every tensor that autograd keeps, weights apart, each once."""
    held: list[Tensor] = []  # so that no address is used twice

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held.append(tensor)
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    return torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)


def pretend(name: str, sensors: int, settings: SignalRecipe) -> Stream:
    """Made-up windows of a modality: noise from sensors all over a head, prepared already, each a region of its own."""
    rng = np.random.default_rng(0)
    sfreq = settings.tokenizer.sfreq
    shape = (sensors, round(WINDOWS * settings.seconds * sfreq))
    place = rng.normal(size=(sensors, 3))
    place /= np.linalg.norm(place, axis=1, keepdims=True)
    kinds = list(modality(name).kinds.items())
    chosen = [kinds[row % len(kinds)] for row in range(sensors)]
    table = Sensors(
        name=tuple(f"sensor {row}" for row in range(sensors)),
        kind=tuple(kind for kind, _ in chosen),
        unit=tuple(said.unit for _, said in chosen),
        position=0.09 * place,
        orientation=place,
        region=tuple(f"region {row}" for row in range(sensors)),
        frame="approximate",
    )
    made = rng.poisson(RATE / sfreq, shape) if name == "spikes" else rng.normal(size=shape)
    return cut([Recording({name: Signal(made.astype(np.float64), sfreq, table)})], settings, name)
