"""What all doors share: they do nothing but open their command, and Ctrl-C ends them even while they import."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import REPOSITORY
from tests.support.processes import PATIENCE_S

FOLDERS = ("recognition", "recognition/common", "deploy", "src", "src/data", "src/align", "src/eval")
DOORS = sorted(
    str(path.relative_to(REPOSITORY))
    for folder in FOLDERS
    for path in (REPOSITORY / folder).glob("*.py")
    if path.name not in ("config.py", "sample_config.py")
)


@pytest.mark.parametrize("door", DOORS)
def test_a_door_opens_the_command_of_its_path(door: str) -> None:
    text = (REPOSITORY / door).read_text()
    module = "mxface." + door.removeprefix("src/").removesuffix(".py").replace("/", ".")
    assert f'open_door("{module}")' in text
    assert len(text.splitlines()) < 20
    assert re.search(r"^.*python .*\b" + re.escape(Path(door).name), text.split('"""')[1], re.MULTILINE), (
        "a line to paste"
    )


SLOW = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
print("importing", flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("door", DOORS)
def test_ctrl_c_while_it_imports(tmp_path: Path, door: str) -> None:
    (tmp_path / "numpy.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, str(REPOSITORY / door), "--help"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, error) == (130, f"{Path(door).name}: interrupted\n")
