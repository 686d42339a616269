"""The backbone through torch.compile: kernels made for it, of the same numbers up to rounding.

The first batch pays for it: seconds to minutes, once for a shape of the batch. What is compiled shares the parameters
of the network, whose names do not change, so states and models are the same with and without it. Verification runs the
network as it is.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil

import torch
from torch import nn

from mxface.errors import ConfigError

log = logging.getLogger(__name__)

COMPILERS = ("g++", "clang++")


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """`network` to be compiled at its first call; ConfigError where the tools for it are missing."""
    named = os.environ.get("CXX")
    if not any(shutil.which(compiler) for compiler in ((named,) if named else COMPILERS)):
        raise ConfigError(
            f"--compile needs a C++ compiler, and there is no {named or ' or '.join(COMPILERS)} on the path: install "
            "one, or leave the flag out"
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise ConfigError("--compile on a GPU needs triton: pip install triton, or leave the flag out")
    log.info("--compile: the first batch takes seconds to minutes longer")
    result: nn.Module = torch.compile(network)  # type: ignore[assignment]
    return result
