"""Generators: one file each, a size of UNet with its scheduler, to be trained from scratch or filled with published weights."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, SerializeAsAny

from brainfm.errors import RecipeError
from brainfm.images.codecs import Codec
from brainfm.images.codecs.pixels import Pixels
from brainfm.images.control import ControlBranch
from brainfm.images.generator import Generator, Unconditional
from brainfm.images.seeded import seeded
from brainfm.images.weights import loaded, whole
from brainfm.part import Part

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "euler": "EulerDiscreteScheduler",
    "dpm": "DPMSolverMultistepScheduler",
}


class Diffusion(Part):
    """A UNet of diffusers under `images.generator.Generator`."""

    run_time: ClassVar[frozenset[str]] = frozenset({"tokens", "vector"})
    schedule: ClassVar[dict[str, Any]]
    """How much noise each of the 1000 steps has, in diffusers' words."""

    weights: str | None = Field(
        default=None, description="a folder or a name on the Hub; none: from a config"
    )
    codec: SerializeAsAny[Codec] = Pixels()
    scheduler: Literal["ddim", "euler", "dpm"] = "ddim"
    prediction: Literal["sample", "epsilon", "v_prediction"]
    unconditional: Unconditional = "zeros"
    drop: float = Field(default=0.1, ge=0, lt=1, description="share of pictures trained without tokens")
    offset_noise: float = Field(default=0.0, ge=0)
    control: int | None = Field(default=None, ge=1, description="channels of a control map; none: no branch")

    def config(self, tokens: int | None, vector: int | None) -> dict[str, Any]:
        """The UNet's own settings. `tokens` is the width of what it attends to, `vector` that of what is beside the time."""
        raise NotImplementedError  # a family's base class; every part in this folder has its own

    def build(
        self,
        generator: torch.Generator,
        tokens: int | None = None,
        vector: int | None = None,
        device: str = "cpu",
    ) -> Generator:
        """The generator, its weights published or drawn; on `device="meta"` it has shapes alone.

        Raises `RecipeError` where `tokens` or `vector` are not what the UNet takes.
        """
        unet = self._unet(generator, tokens, vector, device)
        width = unet.config.cross_attention_dim
        if tokens is not None and tokens != width:
            raise RecipeError(f"the embedder's tokens have {tokens} features, {self.kind} attends to {width}")
        with torch.device(device):
            control = None if self.control is None else ControlBranch(unet, self.control, generator)
            codec = self.codec.build(generator)
        return Generator(
            unet, self._scheduler(), codec, control, self.unconditional, self.drop, self.offset_noise
        ).to(device)

    def _unet(self, generator: torch.Generator, tokens: int | None, vector: int | None, device: str) -> Any:
        from diffusers import UNet2DConditionModel

        if self.weights is not None and device != "meta":
            return loaded(self.weights, "a UNet2DConditionModel of diffusers", _of_folder)
        with seeded(generator), torch.device(device):
            return UNet2DConditionModel(**self.config(tokens, vector))

    def _scheduler(self) -> Any:
        import diffusers

        settings = {**self.schedule, "prediction_type": self.prediction}
        if self.scheduler == "ddim":
            settings["clip_sample"] = isinstance(self.codec, Pixels)  # latents have no bounds
        return getattr(diffusers, SCHEDULERS[self.scheduler])(**settings)


def _of_folder(name: str) -> Any:
    from diffusers import UNet2DConditionModel

    inner = {"subfolder": "unet"} if (Path(name) / "unet").is_dir() else {}  # a whole pipeline
    found, info = UNet2DConditionModel.from_pretrained(
        name, output_loading_info=True, use_safetensors=True, low_cpu_mem_usage=False, **inner
    )
    return whole(found, info, name)
