"""The user's `config.py`: found, executed once, and asked for its settings.

The file keeps its form of 2019: tables `config`, `default`, `network`, `dataset`, `loss`, and `generate_config(network,
dataset, loss)` that lays the chosen entries over the first two. See `sample_config.py`, which is the default.
"""

from __future__ import annotations

import logging
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxface
from mxface.errors import ConfigError
from mxface.places import search_folders

log = logging.getLogger(__name__)

SAMPLE_NAME = "sample_config.py"
TABLES = ("network", "dataset", "loss")


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """An executed config file: `defaults` are those of the flags, before any entry is laid over them."""

    path: Path
    namespace: Mapping[str, Any]
    is_fallback: bool = False
    """Whether it is the sample, for want of a file of the user's."""

    @property
    def defaults(self) -> dict[str, Any]:
        return dict(self.namespace["default"])

    def warn_if_fallback(self) -> None:
        """Say that the sample counts."""
        if self.is_fallback:
            log.warning("no config.py: using %s (cp sample_config.py config.py to change it)", self.path)

    def generate(self, *, network: str, dataset: str, loss: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The merged `(config, default)` of the three chosen entries."""
        for table, name in zip(TABLES, (network, dataset, loss), strict=True):
            known = sorted(self.namespace[table])
            if name not in known:
                raise ConfigError(f"--{table} {name}: not in {self.path}, which has {', '.join(known)}")
        config = self.namespace["config"]
        # in 2019 the embedding heads read bn_mom when they were imported, before any entry could change it
        before_entries = {"head_bn_mom": config["bn_mom"]} if "bn_mom" in config else {}
        self.namespace["generate_config"](network, dataset, loss)
        return before_entries | dict(config), dict(self.namespace["default"])


def read_config_file(path: Path | None = None) -> ConfigFile:
    """Execute `path`, else the first `config.py` in reach, else the first `sample_config.py`."""
    found = path or _find_config()
    if not found.is_file():
        raise ConfigError(f"--config {found}: no such file")
    try:
        namespace = runpy.run_path(str(found), run_name="mxface_user_config")
    except Exception as exc:
        raise ConfigError(f"{found}: cannot be executed: {type(exc).__name__}: {exc}") from exc
    missing = [name for name in (*TABLES, "config", "default", "generate_config") if name not in namespace]
    if missing:
        raise ConfigError(f"{found}: has no {', '.join(missing)}; start from a copy of sample_config.py")
    is_fallback = path is None and found.name == SAMPLE_NAME
    return ConfigFile(path=found.resolve(), namespace=namespace, is_fallback=is_fallback)


def _find_config() -> Path:
    package = (
        Path(mxface.__file__).resolve().parent
    )  # under `python -m` the command's folder, whose config.py is no user's
    folders = [folder for folder in search_folders() if package not in (folder, *folder.parents)]
    for name in ("config.py", SAMPLE_NAME):
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    places = ", ".join(map(str, folders))
    raise ConfigError(f"neither config.py nor {SAMPLE_NAME} in {places}; give one with --config PATH")
