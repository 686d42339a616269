"""Flags and config entries become one checked `RunConfig`."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tests.support import REPOSITORY

from mxface.errors import ConfigError
from mxface.recognition.arguments import Arguments, parse_arguments
from mxface.recognition.config_file import read_config_file


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of sample_config.py above empty folders for `emore` and `orl`; the working directory is `recognition`."""
    for folder in ("recognition", "datasets/faces_emore", "datasets/orl"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "recognition")
    path = tmp_path / "config.py"
    path.write_text((REPOSITORY / "sample_config.py").read_text())
    return path


def parse(config: Path, *flags: str) -> Arguments:
    return parse_arguments(["--config", str(config), *flags], description="train")


@pytest.mark.parametrize("loss", read_config_file(REPOSITORY / "sample_config.py").namespace["loss"])
def test_the_losses_of_the_sample_set_what_they_read(config: Path, loss: str, caplog: pytest.LogCaptureFixture) -> None:
    parse(config, "--loss", loss)
    assert "no effect" not in caplog.text


def test_a_key_of_another_loss_is_mentioned(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = "loss.adaface.loss_m3 = 0.35\nloss.adaface.triplet_alpha = 0.3\nloss.adaface.loss_m1 = 1.0\n"
    config.write_text(config.read_text().replace("\ndef generate_config", f"{lines}\n\ndef generate_config"))
    parse(config, "--loss", "adaface")
    assert f"{config}: loss_m3, triplet_alpha: no effect with loss_name adaface" in caplog.text


def test_defaults_are_those_of_2019(config: Path) -> None:
    run = parse(config).run
    assert run.prefix == Path("models/r100-arcface-emore/model")
    assert (run.net_name, run.network.num_layers, run.network.emb_size) == ("fresnet", 100, 512)
    assert (run.loss.loss_s, run.loss.loss_m1, run.loss.loss_m2, run.loss.loss_m3) == (64.0, 1.0, 0.5, 0.0)
    assert (run.data.num_classes, run.data.image_shape) == (85742, (112, 112, 3))
    assert run.data.val_targets == ("lfw", "cfp_fp", "agedb_30")
    train = run.train
    assert (train.lr, train.lr_steps, train.wd, train.mom) == (0.1, (100000, 160000, 220000), 0.0005, 0.9)
    assert (train.batch_size, train.verbose, train.frequent, train.ckpt) == (128, 2000, 20, 3)
    assert (train.state_steps, train.max_steps, train.wd_scope, train.dtype) == (2000, 0, "all", "float32")
    assert (run.pretrained, run.pretrained_epoch, run.ckpt_embedding, run.count_flops) == ("", 1, True, True)


def test_an_explicit_flag_beats_an_entry(config: Path) -> None:
    assert parse(config, "--network", "y1", "--dataset", "orl").run.train.batch_size == 30
    flags = ("--network", "y1", "--dataset", "orl", "--per-batch-size", "8", "--lr-steps", "5,7", "--verbose", "3")
    train = parse(config, *flags).run.train
    assert (train.batch_size, train.lr_steps, train.verbose, train.state_steps) == (8, (5, 7), 3, 3)


def test_data_path_is_found_from_the_folder_of_the_config(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = config.parent / "datasets" / "orl"
    assert parse(config, "--dataset", "orl").run.data.dataset_path == folder
    monkeypatch.chdir(config.parent)
    assert parse(config, "--dataset", "orl").run.data.dataset_path == folder
    folder.rmdir()
    monkeypatch.setattr("sys.argv", ["train.py"])
    with pytest.raises(ConfigError, match=r"dataset_path datasets/orl is not a folder: looked for .*datasets/orl"):
        parse(config, "--dataset", "orl")


def test_help_shows_every_flag_with_its_default(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse(config, "--network", "d169", "-h")
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    names = """dataset network loss models-root pretrained pretrained-epoch ckpt verbose lr lr-steps wd mom frequent
        per-batch-size kvstore config seed dtype resume state-steps threads device wd-scope ranks rank-timeout"""
    assert [name for name in names.split() if f"--{name}" not in text] == []
    assert "(default: 64)" in text  # d169's batch


def test_unknown_keys_warn_and_name_the_nearest(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    config.write_text(config.read_text().replace("default = edict()", "default = edict()\nconfig.emb_sise = 3"))
    with caplog.at_level(logging.WARNING):
        parse(config)
    assert "unknown key 'emb_sise' is ignored; did you mean 'emb_size'?" in caplog.text
    assert caplog.text.count("unknown key") == 1


def test_fc7_multipliers_without_effect_warn(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    config.write_text(config.read_text().replace("fc7_lr_mult = 1.0", "fc7_lr_mult = 10.0"))
    with caplog.at_level(logging.WARNING):
        parse(config, "--wd-scope", "weights")
        assert "fc7_lr_mult" not in caplog.text
        parse(config)
    assert "fc7_lr_mult 10.0" in caplog.text
    assert "--wd-scope weights" in caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--kvstore", "dist_sync"), "--kvstore dist_sync: only 'device' and 'local'"),
        (("--lr-steps", ""), "--lr-steps is '': expected batch numbers"),
        (("--lr", "0"), "--lr is 0.0: expected a learning rate above 0"),
        (("--per-batch-size", "0"), "--per-batch-size is 0"),
        (("--verbose", "0"), "--verbose is 0"),
        (("--mom", "1"), "--mom is 1.0"),
        (("--threads", "-1"), "--threads is -1"),
    ],
)
def test_what_cannot_work_is_refused(config: Path, flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(config, *flags)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.emb_size = 'big'", "emb_size is 'big': expected a number"),
        ("config.emb_size = 1.5", "emb_size is 1.5: expected a whole number"),
        ("config.net_blocks = 3", "net_blocks is 3: expected a list of int"),
        ("config.data_color = 3", "data_color is 3: expected 0, 1"),
        ("network.r100.net_output = 5", "net_output is 5: expected a text"),
        ("network.r100.net_output = 'K'", "net_output='K' does not exist; choose one of E, "),
        ("config.memonger = True", "memonger=True never worked"),
        ("dataset.emore.image_shape = (112, 96, 3)", "image_shape is .*square"),
        ("del loss.arcface['loss_name']", "config has no loss_name"),
    ],
)
def test_a_bad_key_is_refused(config: Path, line: str, message: str) -> None:
    config.write_text(config.read_text().replace("\n# defaults of the flags\n", f"\n{line}\n"))
    with pytest.raises(ConfigError, match=message):
        parse(config)
