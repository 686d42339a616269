"""The losses of recognition training."""

from __future__ import annotations

from mxface.losses.head_config import HeadConfig, HeadOutput
from mxface.losses.softmax_head import SoftmaxHead

__all__ = ["HeadConfig", "HeadOutput", "SoftmaxHead"]
