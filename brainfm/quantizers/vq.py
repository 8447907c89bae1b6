"""One codebook: each vector is said by the nearest code (van den Oord et al. 2017, arXiv:1711.00937)."""

from pydantic import Field

from brainfm.layers.codebook import Codebooks
from brainfm.quantizers import Quantizer


class Vq(Quantizer):
    """`codes` vectors that follow the data by a running mean. LaBraM has 8192 of them, Du-IN 2048, both for far more data."""

    codes: int = Field(ge=2)
    kmeans: bool = Field(default=True, description="start the codes where the vectors are")
    decay: float = Field(
        default=0.99, gt=0, lt=1, description="of the running mean (LaBraM, Du-IN, BrainOmni)"
    )
    restart: float = Field(
        default=2.0,
        ge=0,
        description="vectors a step under which a code starts again; 0 never (BrainOmni: 2)",
    )
    commitment: float = Field(default=0.25, ge=0, description="pull of the codes on the encoder (BrainOmni)")

    def build(self, width: int) -> Codebooks:
        return Codebooks(width, self.codes, 1, self.kmeans, self.decay, self.restart, self.commitment)

    def of_size(self, codes: int) -> str:
        return f"codes: {codes}"
