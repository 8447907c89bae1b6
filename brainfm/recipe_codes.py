"""What a recipe says of codes: of what they are, how many, and what must be told by them."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from brainfm.layers.apart import APART, OF_WAVES
from brainfm.layers.attention import WIDEN
from brainfm.layers.seanet import Seanet
from brainfm.part import Settings, suggest
from brainfm.quantizers import Quantizer


class Codes(Settings):
    """How what the tokens of one modality hold becomes discrete codes."""

    modality: str
    also: list[str] = Field(
        default=[], description="other instruments that the same codes are of, by a tokenizer that reads both"
    )
    of: Literal["signal", "amplitude"] = Field(
        default="signal",
        description="what is coded of each patch: its samples, or its amplitude spectrum (EEGFormer)",
    )
    quantizer: SerializeAsAny[Quantizer]
    hidden: int = Field(default=128, ge=1, description="width of the layers between signal and codes")
    width: int = Field(default=32, ge=1, description="of a code's vector")
    context: int = Field(
        default=1, ge=0, description="tokens before and after that the decoder sees beside one"
    )
    depth: int = Field(
        default=0, ge=0, description="blocks in which tokens of one row hear each other before they are coded"
    )
    decoder_depth: int = Field(default=0, ge=0, description="the same behind the codes; 0: a convolution")
    heads: int | None = Field(
        default=None, ge=1, description="of these blocks; where not given, as many as have about 64 features"
    )
    head_size: int | None = Field(
        default=None, ge=2, description="features of a head, even; where not given they share `hidden`"
    )
    widen: float = Field(
        default=WIDEN, gt=0, description="how many times as wide as `hidden` the blocks' MLP is"
    )
    seanet: Seanet | None = Field(
        default=None,
        description="convolutions and LSTMs along the row's waveform in the place of both networks (BrainOmni)",
    )
    spectrum: float = Field(default=0.3, ge=0, description="weight of the spectrum beside the signal")
    losses: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="name in layers/apart.py → weight; by default smooth L1 with `spectrum`, of amplitudes the squared error",
    )
    tells: Literal["rows", "sensors"] = Field(
        default="rows",
        description="what must be told: what each row of tokens holds, or what sensors measure, by a tokenizer that can be asked "
        "for any; it then learns, too",
    )
    drop: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the sensors that is told without being shown; of tells: sensors",
    )
    noise: float = Field(default=0.0, ge=0, description="deviation of white noise on what is shown; the same")
    usage: float = Field(
        default=0.8, ge=0, le=1, description="share of the codes that must occur in held-out windows"
    )

    @property
    def modalities(self) -> list[str]:
        """All instruments that the codes are of."""
        return [self.modality, *self.also]

    @property
    def shape(self) -> dict[str, Any]:
        """What the blocks before and behind the codes are like."""
        return {"heads": self.heads, "size": self.head_size, "widen": self.widen}

    @property
    def apart(self) -> dict[str, float]:
        """The losses that count, with their weights."""
        if self.losses:
            return {name: weight for name, weight in self.losses.items() if weight}
        if self.of == "amplitude":
            return {"squared": 1.0}
        beside = {"amplitude": self.spectrum, "phase": self.spectrum} if self.spectrum else {}
        return {"signal": 1.0, **beside}

    @model_validator(mode="after")
    def _of_sensors(self) -> "Codes":
        if self.tells == "rows" and (self.drop or self.noise):
            raise ValueError("drop and noise are of what sensors tell; say tells: sensors or leave them out")
        return self

    @model_validator(mode="after")
    def _of_one_network(self) -> "Codes":
        if self.seanet is not None and (self.depth or self.decoder_depth or self.of == "amplitude"):
            raise ValueError(
                "seanet is of waveforms and has no blocks; leave out depth, decoder_depth and of, or seanet"
            )
        if (self.heads or self.head_size) and not (self.depth or self.decoder_depth):
            raise ValueError(
                "heads and head_size are of blocks, of which there are none; say depth or decoder_depth"
            )
        if not self.head_size and self.heads and self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden must be a multiple of twice the {self.heads} heads, not {self.hidden}; or say head_size"
            )
        return self

    @field_validator("losses")
    @classmethod
    def _known(cls, value: dict[str, float], info: Any) -> dict[str, float]:
        for name in value:
            if name not in APART:
                raise ValueError(f"{name!r} is no loss of codes{suggest(name, APART)}")
            if name in OF_WAVES and info.data.get("of") == "amplitude":
                raise ValueError(
                    f"{name} is of waveforms, and these codes are of amplitudes; take squared or l1"
                )
        if value and not any(value.values()):
            raise ValueError("every loss weighs nothing; give one a weight")
        return value
