"""Where the tests find real data, and what runs by default.

`$MXFACE_ORACLE` and `$MXFACE_ASSETS` (default `../shared/oracle`, `../shared/assets` beside the repository) hold golden
numbers and real models. A test that needs them takes the fixture `oracle` or `assets` and is skipped, saying so, where
they are not. `slow` tests run only with `--slow` (`make test-all`); `mxnet` tests only where MXNet can be imported;
`gpu` tests only with CUDA.

Nothing is left to chance: a test draws the same numbers on every run, after whatever other tests, and no example of
Hypothesis is timed. `--hypothesis-profile=explore` draws other examples each time.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from tests.support import ASSETS, ORACLE

os.environ.setdefault("MXNET_SUBGRAPH_BACKEND", "NONE")

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeat", settings.get_profile("explore"), derandomize=True)
settings.load_profile("repeat")


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Every test begins with the same random generators."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    has_mxnet = importlib.util.find_spec("mxnet") is not None
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with --slow (make test-all)"))
        if "mxnet" in item.keywords and not has_mxnet:
            item.add_marker(pytest.mark.skip(reason="MXNet is not installed here (run in .venv-mxnet)"))
        if "gpu" in item.keywords:
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA GPU"))


@pytest.fixture(scope="session")
def oracle() -> Path:
    """The folder of golden data of the 2019 original."""
    if not ORACLE.is_dir():
        pytest.skip(f"no oracle at {ORACLE} (set MXFACE_ORACLE)")
    return ORACLE


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real 2016-2018 models and images."""
    if not ASSETS.is_dir():
        pytest.skip(f"no assets at {ASSETS} (set MXFACE_ASSETS)")
    return ASSETS
