"""Every flag of the training commands: a value without sense ends in one sentence that names the flag and the value.

The flags are those of the parsers, so a new one without a good message fails here.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tests.support import REPOSITORY
from tests.support.training import write_tiny_config, write_tiny_set

from mxface import train_softmax, train_triplet
from mxface.data import bench_data
from mxface.errors import ConfigError
from mxface.recognition import train, train_parall
from mxface.recognition.common import flops_counter

Main = Callable[..., int]

NO_NONSENSE = {
    "nonsense": {"--models-root", "--prefix", "--target"},
    "-1": {
        "--ckpt",  # as in 2019, others act as 1
        *("--version-se", "--rand-mirror", "--easy-margin"),  # as in 2019, what is not 0 is 1
        *("--margin-m", "--margin-b"),  # as in 2019, without effect, which is warned of
        *(
            "--margin",
            "--beta",
            "--beta-min",
            "--gamma",
            "--power",
            "--scale",
        ),  # of a loss that is not there: a warning
    },
}
NO_NONSENSE["nan"] = NO_NONSENSE["inf"] = NO_NONSENSE["-1"] - {"--margin-m", "--margin-b"}
"""By value, the flags of the training commands for which it is not refused."""
TINY = ("--network", "tiny", "--dataset", "tiny", "--config", "config.py")
SRC = ("--data-dir", "tiny", "--per-batch-size", "6", "--max-steps", "1")
COMMANDS: dict[str, tuple[Main, Sequence[str]]] = {
    "train": (train.main, TINY),
    "train_parall": (train_parall.main, TINY),
    "train_softmax": (train_softmax.main, (*SRC, "--network", "y1", "--loss-type", "5")),
    "train_triplet": (train_triplet.main, (*SRC, "--network", "y1", "--triplet-bag-size", "18")),
    "bench_data": (bench_data.main, ("--data-dir", "tiny", "--seconds", "0.01", "--cpus", "1")),
    "flops_counter": (flops_counter.main, ()),
}


def flags_of(main: Main) -> list[argparse.Action]:
    """The flags that take a value, as the command's parser has them."""
    parsers: list[argparse.ArgumentParser] = []

    def note(parser: argparse.ArgumentParser, *_args: object) -> None:
        parsers.append(parser)
        raise ConfigError("enough")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", note)
        patch.setattr(sys, "stderr", io.StringIO())
        main(("--config", str(REPOSITORY / "sample_config.py")))
    (parser,) = parsers
    return [action for action in parser._actions if action.option_strings and action.nargs != 0]


def nonsense(action: argparse.Action) -> list[str]:
    """Values that no such flag can have."""
    values = {int: ["nonsense", "-1"], float: ["nonsense", "-1", "nan", "inf"]}.get(action.type, ["nonsense"])  # type: ignore[call-overload]
    return [value for value in values if not NO_NONSENSE.get(value, set()).intersection(action.option_strings)]


CASES = [
    pytest.param(
        *COMMANDS[command], action.option_strings[0], value, id=f"{command} {action.option_strings[0]} {value}"
    )
    for command, (main, _) in COMMANDS.items()
    for action in flags_of(main)
    for value in nonsense(action)
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flags")
    write_tiny_config(folder / "config.py", write_tiny_set(folder / "tiny"))
    return folder


@pytest.mark.parametrize(("main", "flags", "flag", "value"), CASES)
def test_nonsense_is_refused_by_the_name_of_the_flag(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main: Main,
    flags: Sequence[str],
    flag: str,
    value: str,
) -> None:
    monkeypatch.chdir(workplace)
    try:
        status = main([*flags, f"{flag}={value}"])
    except SystemExit as exc:  # argparse's own
        status = exc.code  # type: ignore[assignment]
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert status in (1, 2), said
    assert ": error: " in said
    assert flag in said and value in said


@pytest.mark.parametrize(
    ("main", "flag", "value"),
    [
        (train.main, "--per-batch-size", "1000"),
        (train.main, "--ranks", "100000"),
        (train.main, "--threads", "100000000000000000000"),
        (train.main, "--workers", "100000"),
        (train.main, "--rank-timeout", "100000000"),
        (train.main, "--lr", "1e300"),
        (train_softmax.main, "--wd", "1e300"),
        (train_softmax.main, "--margin-s", "1e300"),
        (train_softmax.main, "--emb-size", "1000000000"),
        (train_softmax.main, "--images-filter", "7"),
        (train_softmax.main, "--network", "r51"),
        (train_softmax.main, "--image-size", "112,96"),
        (train_triplet.main, "--per-batch-size", "7"),
        (train_triplet.main, "--triplet-bag-size", "0"),
        (train_triplet.main, "--triplet-bag-size", "-18"),
        (bench_data.main, "--cpus", "100000"),
        (bench_data.main, "--batch-size", "1000000000"),
    ],
)
def test_too_much_is_refused_too(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    main: Main,
    flag: str,
    value: str,
) -> None:
    monkeypatch.chdir(workplace)
    (flags,) = [flags for of, flags in COMMANDS.values() if of is main]
    assert main([*flags, f"{flag}={value}"]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert flag in said and any(form in said for form in (value, value[1:], value.replace("e", "e+"))), said


def test_too_large_a_network_is_refused_by_the_machine(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workplace)
    assert train_softmax.main(["--data-dir", "tiny", "--network", "y1", "--image-size", "300000,300000"]) == 1
    assert "error: not enough memory: Unable to allocate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("default.lr = -1", "lr is -1.0: expected a learning rate above 0"),
        ("default.lr = None", "lr is None: expected a number"),
        ("default.lr_steps = [100, 200]", "lr_steps is [100, 200]: expected a text"),
        ("default.per_batch_size = -4", "per_batch_size is -4: expected a number of images above 0"),
        ("config.max_steps = 'many'", "max_steps is 'many': expected a number"),
        ("config.loss_s = 0", "loss_s is 0.0: expected a scale above 0"),
        ("del default['wd']", "default has no wd; take its line from sample_config.py"),
    ],
)
def test_a_value_of_the_config_file_goes_by_its_key(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, sentence: str
) -> None:
    monkeypatch.chdir(workplace)
    entries = (
        "\nfor key in ('lr', 'per_batch_size', 'max_steps'):\n    del dataset.tiny[key]\ndel loss.arcface['loss_s']\n"
    )
    Path("bad.py").write_text(f"{Path('config.py').read_text()}{entries}{line}\n")
    assert train.main([*TINY[:-1], "bad.py"]) == 1
    assert f"error: {sentence}\n" in capsys.readouterr().err
