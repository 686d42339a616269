"""The variants of the network oracle, found from its folders (`recog_fresnet/r18.facts.json`)."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.oracle.fill import read_facts
from tests.support import ORACLE

from mxface.graph import Symbol
from mxface.symbols import FAMILIES, get_symbol
from mxface.symbols.gender_age import gender_age_loss

FAMILY_OF_FOLDER = {
    "recog": "recognition",
    "src": "src",
    "ga": "gender_age",
    "align": "alignment",
    "retina": "retinaface",
}
"""What stands before the `_` of a folder -> the family of get_symbol."""


@dataclass(frozen=True)
class NetworkCase:
    """One network of the oracle."""

    path: Path

    @property
    def variant(self) -> str:
        return self.path.name.split(".facts.json")[0]

    @property
    def label(self) -> str:
        return f"{self.path.parent.name}/{self.variant}"

    @property
    def family(self) -> str:
        prefix = self.path.parent.name.partition("_")[0]
        return FAMILY_OF_FOLDER.get(prefix, prefix)

    @property
    def network(self) -> str:
        return self.path.parent.name.partition("_")[2] or str(self.facts["call"]["named_network"])

    @property
    def symbol_path(self) -> Path:
        """The original's graph; it may be absent."""
        return self.path.with_name(f"{self.variant}.symbol.json.gz")

    @property
    def is_built(self) -> bool:
        """Is this network among those of mxface.symbols?"""
        return self.family in FAMILIES and self.network in FAMILIES[self.family].networks

    @cached_property
    def facts(self) -> dict[str, Any]:
        return read_facts(self.path)

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """The shapes that are given; all others must follow."""
        return {name: tuple(shape) for name, shape in self.facts["arguments"] if name == "data" or "label" in name}

    def build(self) -> Symbol:
        """Our graph of the same call."""
        call = self.facts["call"]
        options = dict(call.get("options") or {**call["positional"], **call["keywords"]})
        if options.pop("AGE", None):
            return self.build_gender_age_loss(options)
        for key in ("net_name", "losstype"):  # which network; and a setting that 2019 ignored
            options.pop(key, None)
        if call.get("graph", "").startswith("training"):
            options["training"] = True
        if "backbone" in call:
            options["backbone"] = build_backbone(call["backbone"])
            assert not options.pop("DENSE_ANCHOR")  # NUM_ANCHORS tells what it would change
        return get_symbol(self.network, family=self.family, **options)

    def build_gender_age_loss(self, options: dict[str, Any]) -> Symbol:
        """The call is that of gender-age/train.py."""
        batch_size = options.pop("per_batch_size")
        assert options.pop("network")[0] == self.network[1]
        return gender_age_loss(get_symbol(self.network, family=self.family, **options), batch_size=batch_size)


def build_backbone(text: str) -> Symbol:
    """From `gender-age/fmobilenet get_symbol(202, multiplier=0.25) internals conv_14_relu_output`."""
    match = re.fullmatch(r"gender-age/(\w+) get_symbol\((.*)\) internals (\w+)", text)
    assert match, text
    name, call, output = match.groups()
    arguments = ast.parse(f"f({call})", mode="eval").body
    assert isinstance(arguments, ast.Call)
    positional = zip(("num_classes", "num_layers"), arguments.args, strict=False)
    options = {key: ast.literal_eval(value) for key, value in positional}
    options.update({str(keyword.arg): ast.literal_eval(keyword.value) for keyword in arguments.keywords})
    return get_symbol(name, family="gender_age", **options).get_internals()[output]


def find_cases() -> list[NetworkCase]:
    """All variants in the folder, none where it is absent."""
    return [NetworkCase(path) for path in sorted(ORACLE.glob("networks/*/*.facts.json*"))]


CASES = find_cases()
BUILT = [case for case in CASES if case.is_built]
