"""What `--engine mxnet` cannot do: refused by name, before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mxface.errors import ConfigError

if TYPE_CHECKING:
    from mxface.recognition.config import RunConfig

TRAINABLE_LOSSES = ("softmax", "margin_softmax", "threshold_margin", "sub_centre", "triplet", "atriplet")


def require_mxnet_can(run: RunConfig) -> None:
    """Raise ConfigError for the first setting that only torch knows."""
    train = run.train
    refusals = {
        f"loss_name {run.loss.loss_name}": (
            run.loss.loss_name not in TRAINABLE_LOSSES,
            f"it trains the losses that have a graph: {', '.join(TRAINABLE_LOSSES)}",
        ),
        f"--dtype {train.dtype}": (train.dtype != "float32", "it trains in float32"),
        f"--head-dtype {train.head_dtype}": (train.head_dtype != "float32", "it trains in float32"),
        "--compile": (train.compile, "torch.compile knows no MXNet graph"),
        f"--sample-rate {train.sample_rate:g}": (train.sample_rate < 1, "every class is in its graph's softmax"),
        f"--margin-warmup {train.margin_warmup}": (train.margin_warmup > 0, "the margin is a constant of its graph"),
        f"--clip-grad {train.clip_grad:g}": (
            train.clip_grad > 0,
            "its optimiser limits each element of a gradient, not the gradient's length",
        ),
        f"--ranks {run.ranks}": (
            run.ranks > 1,
            "one process drives all GPUs of CUDA_VISIBLE_DEVICES, with --per-batch-size images on each",
        ),
    }
    for setting, (is_refused, reason) in refusals.items():
        if is_refused:
            way_out = "choose one of them" if setting.startswith("loss_name") else "leave it out"
            raise ConfigError(f"{setting} is not for --engine mxnet: {reason}; {way_out}, or use --engine torch")
