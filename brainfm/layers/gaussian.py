"""How far vectors are from an isotropic Gaussian, seen along random directions: what keeps latents from becoming one."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

FURTHEST, KNOTS = 5.0, 17
"""Where along a characteristic function it is compared, and at how many places from 0 on."""


def far_from_gaussian(
    values: Float[Tensor, "sample *item width"], directions: Float[Tensor, "width direction"]
) -> Float[Tensor, ""]:
    """Epps and Pulley's test of normality over samples, the mean over items and directions; 0 for a standard Gaussian.

    SIGReg (Balestriero & LeCun 2025, arXiv:2511.08544, §4): along each direction the empirical characteristic function is
    compared with exp(−t²/2), squared, under a weight of exp(−t²/2). Their factor, the number of samples, is left out, so that a
    weight means the same for small and large steps. Directions are taken at length 1.
    """
    t = torch.linspace(0, FURTHEST, KNOTS, device=values.device)
    gaussian = torch.exp(-t.square() / 2)
    with torch.autocast(values.device.type, enabled=False):  # an angle of ten radians needs its digits
        shadow = values.float() @ (directions / directions.norm(dim=0)).to(values.device)
    angle = shadow.unsqueeze(-1) * t  # (sample, item, direction, knot)
    apart = (angle.cos().mean(dim=0) - gaussian).square() + angle.sin().mean(dim=0).square()
    # both functions are even in t: the integral is twice that over t > 0, in units of the weight's own, √(2π)
    return 2 * torch.trapezoid(apart * gaussian, t).mean() / math.sqrt(2 * math.pi)
