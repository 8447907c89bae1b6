"""What wav2vec 2.0 makes of a sound (Baevski et al. 2020, arXiv:2006.11477), through transformers.

Défossez et al. 2023 (arXiv:2208.12266, §2.4) take the mean of layers 14 to 18 of `facebook/wav2vec2-large-xlsr-53`, 1024 numbers
50 times a second. Without a checkpoint the network is built small and untrained, from a seed: random features, which keep
what filters would and know no word.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from brainfm.data.speech import RATE
from brainfm.errors import DataError
from brainfm.sounds import Sound

HOP = 320
"""Samples from frame to frame."""
FRAME = 400
"""Samples that a frame hears."""


class Wav2Vec2(Sound):
    """The mean of `layers`, counted from 1 (0 is what enters the first), standardised by no one: targets are, in training."""

    rate: ClassVar[float] = RATE / HOP

    checkpoint: str | None = Field(default=None, description="a folder or a Hub id; none: random features")
    layers: list[int] = Field(default=[2, 3], min_length=1)
    width: int = Field(default=64, ge=12, description="of the untrained network")
    seed: int = Field(default=0, description="of the untrained network")

    def said(self) -> str:
        return "" if self.checkpoint else f"wav2vec2 is untrained: random features of seed {self.seed}"

    def network(self) -> Any:
        """The network, ready to listen. Raises `DataError` where the checkpoint can't be had."""
        from transformers import Wav2Vec2Config, Wav2Vec2Model

        if self.checkpoint is None:
            config = Wav2Vec2Config(
                hidden_size=self.width, num_hidden_layers=max(self.layers), num_attention_heads=4,
                intermediate_size=2 * self.width, conv_dim=(self.width,) * 7, num_conv_pos_embeddings=16,
                num_conv_pos_embedding_groups=4, feat_extract_norm="layer", do_stable_layer_norm=True,
            )  # fmt: skip
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                return Wav2Vec2Model(config).eval()
        try:
            return Wav2Vec2Model.from_pretrained(self.checkpoint).eval()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"wav2vec2 {self.checkpoint} can't be loaded ({reason}); give a folder that holds it, or no checkpoint "
                "for an untrained network"
            ) from None

    @torch.inference_mode()
    def hear(self, sounds: Sequence[NDArray[np.float32]], rate: float) -> list[NDArray[np.float32]]:
        """Raises `DataError` for a sound at another rate, or a layer that the network has not."""
        if rate != RATE:
            raise DataError(f"wav2vec2 hears {RATE} Hz, and the sound has {rate:g} Hz; resample it")
        network = self.network()
        if max(self.layers) > (depth := network.config.num_hidden_layers) or min(self.layers) < 0:
            raise DataError(f"wav2vec2 has layers 0 to {depth}, not all of {self.layers}")
        return [self._heard(network, sound) for sound in sounds]

    def _heard(self, network: Any, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """One sound, at mean 0 and variance 1 as the network was trained to have it; silence follows, so that all is heard."""
        level = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        wave = torch.from_numpy(np.pad(level, (0, FRAME)).astype(np.float32))
        states = network(wave[None], output_hidden_states=True).hidden_states
        mean = torch.stack([states[layer][0] for layer in self.layers]).mean(dim=0)
        return mean.numpy().astype(np.float32)
