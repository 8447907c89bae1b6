"""One sampler over diffusers' schedulers and UNets, with every hook that a reconstruction needs.

Tokens that the UNet attends to, a vector beside the time, residual maps of a control branch, the gradient of a scalar, and a
picture to start from: any of them together, and `scale` for classifier-free guidance. All is read from `unet.config`, so a
network of half a million weights and Stable Diffusion's run the same lines.

In every scheduler's terms the UNet sees √ᾱ·clean + √(1−ᾱ)·noise and tells the noise, the clean picture or the velocity of both.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from brainfm.errors import DataError, RecipeError
from brainfm.images.conditioning import Conditioning
from brainfm.images.rgb import resized

Unconditional = Literal["zeros", "random", "learned"]
"""What the UNet attends to where nothing is asked: zeros, normal noise (as Brain-IT and MindEye2 do), or one learned token."""
Latents = Float[Tensor, "batch channel high wide"]


class Generator(nn.Module):
    """A UNet, a scheduler and a codec; with `control`, a branch beside the UNet that adds to its residuals."""

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        codec: Any,
        control: nn.Module | None = None,
        unconditional: Unconditional = "zeros",
        drop: float = 0.1,
        offset_noise: float = 0.0,
    ) -> None:
        super().__init__()
        if unet.config.in_channels != codec.channels:
            raise RecipeError(
                f"the UNet works on {unet.config.in_channels} channels, the codec gives {codec.channels}; choose another codec"
            )
        self.unet, self.codec, self.control = unet, codec, control
        self.scheduler, self.unconditional = scheduler, unconditional
        self.drop, self.offset_noise = drop, offset_noise
        width = unet.config.cross_attention_dim
        self.nothing = nn.Parameter(torch.zeros(width)) if unconditional == "learned" else None

    @property
    def size(self) -> int:
        """Side of a picture, pixels."""
        return int(self.unet.config.sample_size) * int(self.codec.factor)

    @property
    def tells(self) -> str:
        """What the UNet predicts: epsilon, sample (the clean picture) or v_prediction."""
        return str(self.scheduler.config.prediction_type)

    # ---- one call of the networks ------------------------------------------------------------------------------

    def predict(
        self, latents: Latents, time: Int[Tensor, "*batch"] | Float[Tensor, "*batch"], given: Conditioning
    ) -> Latents:
        """What the UNet says of noisy latents at these steps of the schedule."""
        count = len(latents)
        tokens = given.tokens if given.tokens is not None else self.blank(count, 1, latents)
        if tokens.shape[-1] != self.unet.config.cross_attention_dim:
            raise DataError(
                f"tokens of {tokens.shape[-1]} features reach a UNet that attends to {self.unet.config.cross_attention_dim}"
            )
        extra = {"encoder_hidden_states": tokens, "return_dict": False, **self._beside_time(given, count)}
        if given.control is None:
            return self.unet(latents, time, **extra)[0]
        if self.control is None:
            raise DataError("a control map is given, but the generator has no control branch; set `control`")
        down, middle = self.control(latents, time, given.control, given.control_strength, extra)
        added = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        return self.unet(latents, time, **extra, **added)[0]

    def _beside_time(self, given: Conditioning, count: int) -> dict[str, Any]:
        """The vector as the UNet's config wants it.

        `text_time` embeds each number by `addition_time_embed_dim` features beside a text part; from the vector's width follows
        how many numbers it ends with: text + numbers = width, text + numbers · features = what the UNet projects.
        """
        config = self.unet.config
        projects = config.class_embed_type == "projection"
        sums = config.addition_embed_type == "text_time"
        if not projects and not sums:
            if given.vector is not None:
                raise DataError("a vector is given, but the UNet's config takes none beside the time")
            return {}
        inner = int(config.projection_class_embeddings_input_dim)
        each = int(config.addition_time_embed_dim) if sums else 0
        vector = given.vector
        if vector is None:
            vector = self.blank(count, 1, None)[:, 0].new_zeros(count, inner // each if sums else inner)
        if projects:
            if vector.shape[1] != inner:
                raise DataError(f"a vector of {vector.shape[1]} reaches a UNet that projects {inner}")
            return {"class_labels": vector}
        numbers, rest = divmod(inner - vector.shape[1], each - 1)
        if rest or not 0 < numbers <= vector.shape[1]:
            raise DataError(
                f"a vector of {vector.shape[1]} can't be a text part and numbers of {each} features that make {inner}"
            )
        text, said = vector.split([vector.shape[1] - numbers, numbers], dim=1)
        return {"added_cond_kwargs": {"text_embeds": text, "time_ids": said}}

    def blank(self, count: int, tokens: int, like: Tensor | None) -> Float[Tensor, "batch token width"]:
        """What is attended to where nothing is asked, but for noise, which `_without` draws."""
        width = int(self.unet.config.cross_attention_dim)
        if self.nothing is not None:
            return self.nothing.expand(count, tokens, width)
        own = next(self.unet.parameters()) if like is None else like
        return own.new_zeros(count, tokens, width)

    def _without(self, given: Conditioning, count: int, generator: torch.Generator) -> Conditioning:
        """The same with nothing asked of its tokens. Control and vector stay (NeuroPictor, arXiv:2403.18211, keeps control)."""
        number = 1 if given.tokens is None else given.tokens.shape[1]
        tokens = self.blank(count, number, given.tokens)
        if self.unconditional == "random":
            tokens = drawn(tokens.shape, generator).to(tokens)
        return replace(given, tokens=tokens)

    # ---- training ----------------------------------------------------------------------------------------------

    def loss(
        self,
        images: Float[Tensor, "batch 3 height width"],
        given: Conditioning,
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error of what the UNet tells of pictures at steps drawn evenly (Ho et al. 2020, arXiv:2006.11239, eq. 14).

        Of a share `drop` of the pictures no tokens are shown, so that sampling can contrast with and without.
        """
        latents = self.encode(images)
        count = len(latents)
        noise = self.noise(latents.shape, generator).to(latents)
        alphas = self.scheduler.alphas_cumprod.to(latents)
        time = torch.randint(len(alphas), (count,), generator=generator, device=generator.device).to(
            latents.device
        )
        alpha = alphas[time][:, None, None, None]
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        without = self._without(given, count, generator)
        if given.tokens is None:
            given = without
        elif self.drop:
            assert without.tokens is not None
            kept = torch.rand(count, generator=generator, device=generator.device) >= self.drop
            kept = kept.to(latents.device)[:, None, None]
            given = replace(given, tokens=torch.where(kept, given.tokens, without.tokens))
        told = self.predict(noisy, time, given)
        return F.mse_loss(told.float(), self.target(latents, noise, alpha).float())

    def target(self, clean: Latents, noise: Latents, alpha: Tensor) -> Latents:
        """What the UNet is asked for; the velocity after Salimans & Ho 2022 (arXiv:2202.00512, §4)."""
        if self.tells == "v_prediction":
            return alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        return clean if self.tells == "sample" else noise

    def encode(self, images: Float[Tensor, "batch 3 height width"]) -> Latents:
        """Latents of pictures, at the size that the UNet works on."""
        with torch.no_grad():
            own = next(self.unet.parameters())
            return self.codec.encode(resized(images.to(own.device, own.dtype), self.size))

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Latents:
        """Normal noise; with `offset_noise`, each channel of a picture is lifted by that much noise as a whole, too."""
        noise = drawn(shape, generator)
        if self.offset_noise:
            noise = noise + self.offset_noise * drawn((*shape[:2], 1, 1), generator)
        return noise

    # ---- sampling ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        given: Conditioning,
        generator: torch.Generator,
        steps: int = 20,
        scale: float = 1.0,
        pictures: int | None = None,
        at_once: int = 64,
        progress: Callable[[float], None] | None = None,
    ) -> Float[Tensor, "batch 3 height width"]:
        """Pictures of a conditioning, `at_once` of them at a time, which changes none but for rounding.

        `scale` above 1 leads away from what would come of no tokens (Ho & Salimans 2022, arXiv:2207.12598, eq. 6), 1 leaves that
        out. `pictures` says how many where the conditioning does not. `progress` is called with the share that is done.
        """
        count = given.count or pictures
        if not count or steps < 1:
            raise DataError("sampling needs a conditioning or a number of pictures, and a step or more")
        own = next(self.unet.parameters())
        given = given.to(own.device, own.dtype)
        side = int(self.unet.config.sample_size)
        # all that is random is drawn before anything is computed, so that a picture is the same in any company
        noise = self.noise((count, self.codec.channels, side, side), generator).to(own)
        without = self._without(given, count, generator)
        if given.tokens is None:
            given, scale = without, 1.0  # nothing to contrast with
        found = []
        for first in range(0, count, at_once):
            rows = slice(first, first + at_once)

            def tell(share: float, first: int = first) -> None:
                if progress is not None:
                    progress((first + share * min(at_once, count - first)) / count)

            found.append(self._denoise(given[rows], without[rows], noise[rows], steps, scale, tell))
        return torch.cat(found)

    def _denoise(
        self,
        given: Conditioning,
        without: Conditioning,
        noise: Latents,
        steps: int,
        scale: float,
        tell: Callable[[float], None],
    ) -> Float[Tensor, "batch 3 height width"]:
        scheduler = type(self.scheduler).from_config(self.scheduler.config)  # its place is its own
        scheduler.set_timesteps(steps, device=noise.device)
        first = 0
        if given.start is None:
            latents = noise * scheduler.init_noise_sigma
        else:
            first, clean = round(given.start_at * len(scheduler.timesteps)), self.encode(given.start)
            if first == len(scheduler.timesteps):
                return self.codec.decode(clean)
            latents = scheduler.add_noise(clean, noise, scheduler.timesteps[first : first + 1])
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(first)
        for place in range(first, len(scheduler.timesteps)):
            time = scheduler.timesteps[place]
            seen = scheduler.scale_model_input(latents, time)
            if given.guide is None or given.guide_strength == 0:
                said = self._contrasted(seen, time, given, without, scale)
            else:
                said = self._guided(seen, time, given, without, scale, signal_share(scheduler, place))
            latents = scheduler.step(said, time, latents, return_dict=False)[0]
            tell((place + 1 - first) / (len(scheduler.timesteps) - first))
        return self.codec.decode(latents)

    def _contrasted(
        self, seen: Latents, time: Tensor, given: Conditioning, without: Conditioning, scale: float
    ) -> Latents:
        """The prediction, led away from that without tokens."""
        told = self.predict(seen, time, given)
        if scale == 1:
            return told
        base = self.predict(seen, time, without)
        return base + scale * (told - base)

    def _guided(
        self,
        seen: Latents,
        time: Tensor,
        given: Conditioning,
        without: Conditioning,
        scale: float,
        alpha: Tensor,
    ) -> Latents:
        """The prediction, its noise moved along the gradient of the guide (Luo et al. 2023, BrainDiVE, arXiv:2306.03089).

        The guide looks at clean·√(1−ᾱ) + seen·(1−√(1−ᾱ)), decoded; noise ← noise + √(1−ᾱ)·∇(−strength·guide).
        """
        assert given.guide is not None
        root = (1 - alpha).sqrt()
        with torch.enable_grad():
            x = seen.detach().requires_grad_(True)
            noise, clean = self.parts(self._contrasted(x, time, given, without, scale), x, alpha)
            pictures = self.codec.decode(clean * root + x * (1 - root))
            energy = -given.guide_strength * given.guide(pictures).sum()
            (slope,) = torch.autograd.grad(energy, x)
        noise = noise.detach() + root * slope
        if self.tells == "epsilon":
            return noise
        clean = (seen - root * noise) / alpha.sqrt()
        return clean if self.tells == "sample" else alpha.sqrt() * noise - root * clean

    def parts(self, told: Latents, seen: Latents, alpha: Tensor) -> tuple[Latents, Latents]:
        """(noise, clean) that a prediction means."""
        root, rest = alpha.sqrt(), (1 - alpha).sqrt()
        if self.tells == "epsilon":
            return told, (seen - rest * told) / root
        clean = told if self.tells == "sample" else root * seen - rest * told
        return (seen - root * clean) / rest, clean


def signal_share(scheduler: Any, place: int) -> Float[Tensor, ""]:
    """ᾱ, the share of variance that is signal, at a place of a scheduler's steps."""
    if hasattr(scheduler, "sigmas"):  # noise over signal, where steps lie between those of training
        return 1 / (1 + scheduler.sigmas[place].to(scheduler.timesteps.device) ** 2)
    return scheduler.alphas_cumprod.to(scheduler.timesteps.device)[scheduler.timesteps[place]]


def drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Normal numbers of a generator, on its device."""
    return torch.randn(shape, generator=generator, device=generator.device)


def parameters(module: nn.Module) -> int:
    """How many weights a network has."""
    return sum(math.prod(one.shape) for one in module.parameters())
