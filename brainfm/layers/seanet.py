"""SEANet: a waveform to vectors at a lower rate by strided convolutions and LSTMs, and back, as BrainOmni's tokenizer has it.

Tagliasacchi et al. 2020, arXiv:2009.02095, with EnCodec's LSTMs (Défossez et al. 2022, arXiv:2210.13438, §3.1), whose code in
transformers this is.
"""

from math import prod
from typing import Annotated, Any

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from brainfm.part import Settings


class Seanet(Settings):
    """Each stride divides the rate by itself and doubles the channels, of which there are `filters` at first."""

    strides: list[Annotated[int, Field(ge=2)]] = Field(
        min_length=1, description="in order from signal to code; their product is a patch's samples"
    )
    filters: int = Field(default=32, ge=2, multiple_of=2, description="channels beside the signal")
    kernel: int = Field(default=5, ge=1, description="samples of the first and the last convolution")
    recurrent: int = Field(default=2, ge=1, description="layers of LSTM between convolutions and codes")

    @property
    def samples(self) -> int:
        """Of the signal that one code stands for."""
        return prod(self.strides)

    def config(self, width: int) -> Any:
        """The same in the words of EnCodec, `width` being of a code's vector."""
        from transformers import EncodecConfig

        return EncodecConfig(
            upsampling_ratios=self.strides[::-1],
            num_filters=self.filters,
            kernel_size=self.kernel,
            last_kernel_size=self.kernel,
            num_lstm_layers=self.recurrent,
            hidden_size=width,
            use_causal_conv=False,
            pad_mode="constant",
        )


class Down(nn.Module):
    """Rows of patches, each row one waveform, to a vector of every patch, which has heard its neighbours and what came before."""

    def __init__(self, part: Seanet, width: int) -> None:
        from transformers.models.encodec.modeling_encodec import EncodecEncoder

        super().__init__()
        self.network = EncodecEncoder(part.config(width))

    def forward(self, rows: Float[Tensor, "row times sample"]) -> Float[Tensor, "row times width"]:
        told: Tensor = self.network(rows.flatten(1).unsqueeze(1))
        return told.transpose(1, 2)


class Up(nn.Module):
    """The way back: vectors of patches to the waveform of their row."""

    def __init__(self, part: Seanet, width: int) -> None:
        from transformers.models.encodec.modeling_encodec import EncodecDecoder

        super().__init__()
        self.network = EncodecDecoder(part.config(width))

    def forward(self, vectors: Float[Tensor, "row times width"]) -> Float[Tensor, "row times sample"]:
        waves: Tensor = self.network(vectors.transpose(1, 2))
        return waves.squeeze(1).unflatten(-1, (vectors.shape[1], -1))
