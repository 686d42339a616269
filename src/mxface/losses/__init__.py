"""The losses of recognition training."""

from __future__ import annotations

from mxface.losses.softmax_head import HeadConfig, HeadOutput, SoftmaxHead

__all__ = ["HeadConfig", "HeadOutput", "SoftmaxHead"]
