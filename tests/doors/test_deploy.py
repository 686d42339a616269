"""deploy/*.py as a user runs them, in their folder; and imported there, as programs of 2019 did."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import REPOSITORY, run_door
from tests.support.scene import Scene, make_scene

DOORS = sorted(path.name for path in (REPOSITORY / "deploy").glob("*.py"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.mark.parametrize("door", DOORS)
def test_help_has_a_line_to_paste(door: str) -> None:
    finished = run_door(f"deploy/{door}", "--help")
    assert finished.returncode == 0, finished.stderr
    assert f"cd deploy && python {door} --" in finished.stdout


def test_a_photograph_is_described(scene: Scene) -> None:
    models = ["--model", scene.model, "--ga-model", scene.ga_model, "--mtcnn-path", scene.mtcnn]
    finished = run_door("deploy/test.py", "--image", scene.first, "--det", 1, *models)
    assert finished.returncode == 0, finished.stderr
    assert re.match(r"[01]\n\d+\nfirst\.png: face of score", finished.stdout)
    assert f"loading {scene.model.replace(',', ' ')}" in finished.stderr
    assert finished.stderr.count("no det4") == 1


def test_what_is_missing_ends_with_a_sentence(tmp_path: Path) -> None:
    finished = run_door("deploy/test.py", "--image", tmp_path / "absent.jpg", "--mtcnn-path", tmp_path)
    assert finished.returncode == 1
    assert finished.stderr.startswith("test.py: error: no MTCNN networks")
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("module", ["face_model", "face_embedding"])
def test_programs_of_2019_import_the_models(module: str, scene: Scene) -> None:
    args = {"image_size": "112,112", "model": scene.model, "ga_model": "", "gpu": -1, "det": 1, "flip": 0}
    program = f"""
import argparse, cv2, {module}
args = argparse.Namespace(**{args!r}, mtcnn_path={str(scene.mtcnn)!r})
model = {module}.FaceModel(args)
img = cv2.imread({str(scene.first)!r})
feature = model.get_feature(model.get_input(img) if {module!r} == "face_model" else img)
print(feature.shape, round(float((feature**2).sum()), 4))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY / "deploy",
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert finished.stdout == "(16,) 1.0\n", finished.stderr
