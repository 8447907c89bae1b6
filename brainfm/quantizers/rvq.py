"""Residual codebooks: the second says what the first left over, and so on (Zeghidour et al. 2021, arXiv:2107.03312)."""

from pydantic import Field

from brainfm.layers.codebook import Codebooks
from brainfm.quantizers import Quantizer


class Rvq(Quantizer):
    """`depth` codebooks of `codes` vectors each; BrainOmni has four of 512. A token can be said by the first few alone."""

    codes: int = Field(ge=2)
    depth: int = Field(default=4, ge=2)
    kmeans: bool = Field(default=True, description="start the codes where the vectors are")
    decay: float = Field(default=0.99, gt=0, lt=1, description="of the running mean (BrainOmni)")
    restart: float = Field(
        default=2.0,
        ge=0,
        description="vectors a step under which a code starts again; 0 never (BrainOmni: 2)",
    )
    commitment: float = Field(default=0.25, ge=0, description="pull of the codes on the encoder (BrainOmni)")

    def build(self, width: int) -> Codebooks:
        return Codebooks(
            width, self.codes, self.depth, self.kmeans, self.decay, self.restart, self.commitment
        )

    def of_size(self, codes: int) -> str:
        return f"codes: {codes}"
