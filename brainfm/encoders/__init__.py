"""Encoders: one file each, `Tokens -> Tokens`."""

from typing import Any, ClassVar

from pydantic import Field, SerializeAsAny, model_validator

from brainfm.layers.attention import WIDEN, Block
from brainfm.moments import Moment
from brainfm.moments.rotary import Rotary
from brainfm.part import Part
from brainfm.places import Place
from brainfm.places.fourier import Fourier


class Encoder(Part):
    """Lets tokens see each other. Its shape follows from the recipe's `size` unless given."""

    run_time: ClassVar[frozenset[str]] = frozenset({"modalities"})

    causal: ClassVar[bool] = False
    """Whether it can keep tokens from hearing later ones (`Tokens.causal`)."""

    regular: ClassVar[bool] = False
    """Whether it asks for tokens at equal steps of time, which a tokenizer of events does not give."""

    depth: int = Field(ge=1)
    width: int = Field(ge=1)
    heads: int = Field(ge=1)
    where: SerializeAsAny[Place] = Fourier()
    when: SerializeAsAny[Moment] = Rotary()

    @property
    def inner(self) -> int:
        """The width of its blocks, which `heads` share."""
        return self.width

    @property
    def shared(self) -> int:
        """The features that all heads of a block have together."""
        return self.inner

    @property
    def told(self) -> int:
        """The width of the tokens that it gives: theirs, unless it makes them wider."""
        return self.width

    @model_validator(mode="after")
    def _heads_divide(self) -> "Encoder":
        if self.shared % (2 * self.heads if self.when.turns else self.heads):
            even = " of even size" if self.when.turns else ""
            raise ValueError(f"a width of {self.shared} can't be split into {self.heads} heads{even}")
        return self

    def build(self, modalities: int) -> Any:
        """A module that maps `Tokens` of `width` to `Tokens` of `told`."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own


class Shaped(Encoder):
    """The base of encoders whose blocks need not have heads that share the width, nor networks four times as wide."""

    head_size: int | None = Field(
        default=None, ge=2, description="features of each head; what the width gives each where not said"
    )
    widen: float = Field(
        default=WIDEN,
        gt=0,
        description="hidden features of a token's own network, as a multiple of the width",
    )
    gated: bool = Field(default=False, description="whether that network has a gate (GEGLU)")

    @property
    def shared(self) -> int:
        return self.inner if self.head_size is None else self.heads * self.head_size

    def block(self, width: int, heads: int, depth: int, cross: bool = False) -> Block:
        """One block of this shape; `depth` is how many add to the same sum."""
        return Block(
            width, heads, depth, cross=cross, gated=self.gated, size=self.head_size, widen=self.widen
        )
