"""The 6,000 pairs of LFW, packed and verified by the commands, against real MXNet's figures for y1."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
from tests.support import run_door

from mxface.formats.dataset_property import DatasetProperty, write_property

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lfw(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LFW's folder layout: aligned faces and pairs.txt."""
    folder = tmp_path_factory.mktemp("lfw")
    with tarfile.open(assets / "lfw/lfw-112x112.tar.gz") as archive:
        for member in archive:
            if member.isfile():
                path = folder.joinpath(*Path(member.name).parts[-2:])  # NAME/NAME_0001.jpg
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())
    lines = (assets / "lfw/pairs_label.txt").read_text().splitlines()
    (folder / "pairs.txt").write_text("\n".join(["10\t300", *map(pairs_line, lines)]) + "\n")
    return folder


def pairs_line(labelled: str) -> str:
    """`path1 path2 0|1` as a line of pairs.txt."""
    *paths, same = labelled.split("\t")
    (name, first), (other, second) = (re.fullmatch(r"(\w.*)_(\d+)", Path(path).stem).groups() for path in paths)
    assert (name == other) == (same == "1")
    fields = [name, int(first), int(second)] if same == "1" else [name, int(first), other, int(second)]
    return "\t".join(map(str, fields))


def test_y1_on_lfw_through_lfw2pack_and_verification(oracle: Path, assets: Path, lfw: Path, tmp_path: Path) -> None:
    packed = run_door("src/data/lfw2pack.py", "--data-dir", lfw, "--output", tmp_path / "lfw.bin")
    assert packed.returncode == 0, packed.stderr
    write_property(tmp_path, DatasetProperty(85742, 112, 112))
    model = assets / "mobilefacenet-y1/model"
    verified = run_door(
        *("src/eval/verification.py", "--data-dir", tmp_path, "--model", f"{model},0", "--target", "lfw"),
        timeout=1800,
    )
    assert verified.returncode == 0, verified.stderr
    expected = json.loads((oracle / "runs/bin/lfw6000.json").read_text())
    figures = dict(re.findall(r"\[lfw\](\S+): (\S+)", verified.stdout))
    for line, view in (("Accuracy", "noflip"), ("Accuracy-Flip", "flip_sum")):
        assert figures[line] == f"{expected[view]['acc']:.5f}+-{expected[view]['std']:.5f}"
    assert float(figures["XNorm"]) == pytest.approx(expected["test"]["xnorm"], abs=2e-5)
