"""What a training run is told, read once and never changed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from mxface.errors import SettingError

DTYPES = ("float32", "bf16")
ON_NAN = ("stop", "skip", "rollback")
LARGEST_FLOAT32 = 3.4e38
WD_SCOPES = ("all", "weights")


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise the `SettingError` of a setting that cannot work."""
    if not condition:
        raise SettingError(name, f" is {value!r}: expected {expected}")


def require_finite(part: Any) -> None:
    """Raise the `SettingError` of a number of this dataclass that is none, or too large for float32."""
    for field in fields(part):
        value = getattr(part, field.name)
        is_finite = not isinstance(value, float) or abs(value) <= LARGEST_FLOAT32
        require(is_finite, field.name, value, "a finite number (of float32)")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the loop and of the optimiser.

    `batch_size` is the number of images of one step over all ranks.
    `lr_steps` are global batch numbers after which the rate is a tenth; `verbose` is the number of batches between
    verifications, `state_steps` between training states (0: only at the end and on a signal). `ckpt` is 2019's rule
    (`mxface.train.checkpoint`). With `max_steps` > 0 the run ends after batch `max_steps` + 1, as it did in 2019; with
    `end_epoch` > 0, after so many epochs.
    `wd_scope` "all" is what 2019 really computed, full weight decay on every parameter; "weights" spares biases and
    betas, and lets the fc7 multipliers act. `head_dtype` is the precision of the products with the class centres;
    `sample_rate` the share of them that a step touches; `on_nan` what a loss that is not finite leads to;
    `margin_warmup` the batches over which the margin grows from nothing; `clip_grad` the largest length of the
    backbone's gradient (0: any); `compile` hands the backbone to torch.compile.
    """

    batch_size: int
    lr: float
    lr_steps: tuple[int, ...]
    wd: float
    mom: float
    frequent: int
    verbose: int
    state_steps: int
    ckpt: int
    max_steps: int
    seed: int
    dtype: str
    wd_scope: str
    head_dtype: str = "float32"
    sample_rate: float = 1.0
    on_nan: str = "stop"
    margin_warmup: int = 0
    clip_grad: float = 0.0
    compile: bool = False
    end_epoch: int = 0

    def __post_init__(self) -> None:
        require(self.batch_size > 0, "batch_size", self.batch_size, "a number of images above 0")
        require(self.lr > 0, "lr", self.lr, "a learning rate above 0")
        require(self.wd >= 0, "wd", self.wd, "a weight decay of 0 or more")
        require(0 <= self.mom < 1, "mom", self.mom, "a momentum in [0, 1)")
        require(all(step > 0 for step in self.lr_steps), "lr_steps", self.lr_steps, "batch numbers above 0")
        require(self.frequent > 0, "frequent", self.frequent, "a number of batches above 0")
        require(self.verbose > 0, "verbose", self.verbose, "a number of batches above 0")
        require(self.state_steps >= 0, "state_steps", self.state_steps, "a number of batches, or 0")
        require(self.max_steps >= 0, "max_steps", self.max_steps, "a number of batches, or 0 for no end")
        require(self.end_epoch >= 0, "end_epoch", self.end_epoch, "a number of epochs, or 0 for no end")
        require(0 <= self.seed < 2**63, "seed", self.seed, "a number in [0, 2^63)")
        require(self.dtype in DTYPES, "dtype", self.dtype, " or ".join(DTYPES))
        require(self.wd_scope in WD_SCOPES, "wd_scope", self.wd_scope, " or ".join(WD_SCOPES))
        require(self.head_dtype in DTYPES, "head_dtype", self.head_dtype, " or ".join(DTYPES))
        require(0 < self.sample_rate <= 1, "sample_rate", self.sample_rate, "a share of the classes in (0, 1]")
        require(self.on_nan in ON_NAN, "on_nan", self.on_nan, ", ".join(ON_NAN))
        require(self.margin_warmup >= 0, "margin_warmup", self.margin_warmup, "a number of batches, or 0")
        require(self.clip_grad >= 0, "clip_grad", self.clip_grad, "a length above 0, or 0 for no limit")
        require_finite(self)
