"""The Python text of a lowered network: `print(module.code)` reads like the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch.fx.graph import CodeGen, PythonCode

WORD = re.compile(r"\w+")


class ReadableCode(CodeGen):
    """Writes `batch_norm(conv0, …)` where torch.fx writes `mxface_lower_batch_norm_batch_norm(conv0, …)`."""

    def _gen_python_code(self, *args: Any, **kwargs: Any) -> PythonCode:
        code = super()._gen_python_code(*args, **kwargs)
        short = _short_names(code.globals, taken=set(WORD.findall(code.src)))
        code.src = WORD.sub(lambda word: short.get(word[0], word[0]), code.src)
        code.globals = {short.get(name, name): value for name, value in code.globals.items()}
        return code


def _short_names(names: Mapping[str, Any], taken: set[str]) -> dict[str, str]:
    """Global name -> the function's own name, where no node and no other function has it."""
    short: dict[str, str] = {}
    for name, value in names.items():
        own = getattr(value, "__name__", name)
        if getattr(value, "__module__", "").startswith("mxface.lower.") and own not in taken:
            short[name] = own
            taken.add(own)
    return short
