"""The parameters of the real models: three generations of the format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support import ASSETS

from mxface.formats.params import V2, read_params, write_params

FILES = sorted(ASSETS.glob("*/*.params"))
FIRST_ARRAY = 24


def case_name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def test_the_assets_have_parameters(assets: Path) -> None:
    assert FILES, f"{assets} holds no *.params"


@pytest.mark.parametrize("path", FILES, ids=case_name)
def test_parameters_survive_being_written_again(path: Path, tmp_path: Path) -> None:
    arrays = read_params(path)
    assert all(name.startswith(("arg:", "aux:")) for name in arrays)
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values())
    write_params(tmp_path / "again", arrays)
    stored, again = path.read_bytes(), (tmp_path / "again").read_bytes()
    if int.from_bytes(stored[FIRST_ARRAY : FIRST_ARRAY + 4], "little") == V2:
        assert again == stored
    else:  # of 2016: the same arrays in a newer form
        assert len(again) > len(stored)
        for name, array in read_params(tmp_path / "again").items():
            np.testing.assert_array_equal(array, arrays[name])
