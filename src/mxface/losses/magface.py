"""MagFace (Meng et al. 2021): a margin that grows with the length of the embedding, and a reward for length.

With a = |x| limited to [l_a, u_a] and t = arccos(cos_y):

    the target's cosine becomes   cos(t + m(a)),   m(a) = l_m + (u_m - l_m) * (a - l_a) / (u_a - l_a)
    every row's loss grows by     lambda_g * g(a), g(a) = 1 / a + a / u_a^2

The gradient flows through a; outside [l_a, u_a] there is none. There is no easy margin: cos(t + m(a)) as the paper
writes it, beyond pi too.
"""

from __future__ import annotations

import torch

from mxface.errors import ConfigError
from mxface.losses.margin import BatchRows, MarginRule, TargetMargin, angle_and_sine


class MagFace(MarginRule):
    """`l_a`, `u_a` are lengths, `l_m`, `u_m` angles in radians."""

    def __init__(self, *, l_a: float, u_a: float, l_m: float, u_m: float, lambda_g: float) -> None:
        super().__init__()
        if not 0 < l_a < u_a:
            raise ConfigError(f"loss_la is {l_a} and loss_ua {u_a}: expected lengths with 0 < loss_la < loss_ua")
        if not 0 <= l_m <= u_m:
            raise ConfigError(f"loss_lm is {l_m} and loss_um {u_m}: expected angles with 0 <= loss_lm <= loss_um")
        if lambda_g < 0:
            raise ConfigError(f"loss_lambda_g is {lambda_g}: expected a weight of 0 or more")
        self._l_a, self._u_a, self._l_m, self._u_m, self._lambda_g = l_a, u_a, l_m, u_m, lambda_g

    def target(self, rows: BatchRows) -> TargetMargin:
        length = rows.norm.clamp(self._l_a, self._u_a)
        inside = (rows.norm == length).to(length.dtype)
        rise = self.share * (self._u_m - self._l_m) / (self._u_a - self._l_a)
        angle, sine = angle_and_sine(rows.cosine)
        turned = angle + self.share * self._l_m + rise * (length - self._l_a)
        return TargetMargin(
            torch.cos(turned),
            torch.sin(turned) / sine,
            norm_slope=-torch.sin(turned) * rise * inside,
            penalty=self._lambda_g * (1 / length + length / self._u_a**2),
            penalty_norm_slope=self._lambda_g * (1 / self._u_a**2 - 1 / length**2) * inside,
        )
