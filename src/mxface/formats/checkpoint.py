"""Names of a checkpoint's files: `PREFIX-symbol.json` and `PREFIX-%04d.params`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mxface.errors import ConfigError


def symbol_path(prefix: str | os.PathLike[str]) -> Path:
    """The graph of the checkpoints with this prefix."""
    return Path(f"{os.fspath(prefix)}-symbol.json")


def params_path(prefix: str | os.PathLike[str], epoch: int) -> Path:
    """The parameters after `epoch`."""
    return Path(f"{os.fspath(prefix)}-{epoch:04d}.params")


def list_epochs(prefix: str | os.PathLike[str]) -> list[int]:
    """Epochs whose `.params` lie beside the prefix, ascending. The base name may hold dashes and dots."""
    base = Path(prefix)
    if not base.parent.is_dir():
        return []
    name = re.compile(re.escape(base.name) + r"-(\d{4,})\.params", re.ASCII)
    matches = (name.fullmatch(path.name) for path in base.parent.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def split_model(text: str, *, flag: str = "--model") -> tuple[str, list[int]]:
    """Take apart a value of `flag`: `prefix,0`, `prefix,1|2|3`, or `prefix` alone, which gives no epochs."""
    prefix, comma, epochs = text.partition(",")
    prefix, epochs = prefix.strip(), epochs.strip()
    if not prefix or (comma and not re.fullmatch(r"\d+(\|\d+)*", epochs, re.ASCII)):
        raise ConfigError(
            f"{flag} {text!r}: expected PREFIX,EPOCH (as ../models/model,0), PREFIX,EPOCH|EPOCH or PREFIX alone; "
            "a prefix cannot contain a comma"
        )
    return prefix, [int(epoch) for epoch in epochs.split("|")] if comma else []


def one_epoch(flag: str, model: str) -> tuple[str, int]:
    """Prefix and epoch of `prefix,epoch`, the value of `flag`. Raises ConfigError for none or several."""
    prefix, epochs = split_model(model, flag=flag)
    if len(epochs) != 1:
        raise ConfigError(f"{flag} {model!r}: name one epoch, as in ../models/model-r34-amf/model,0")
    return prefix, epochs[0]
