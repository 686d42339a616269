"""The flags of `recognition/train.py`. Their defaults are those of the config file, changed by its chosen entries."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mxface.cli import HelpFormatter
from mxface.errors import ConfigError, SettingError
from mxface.loaders.train_loader import DAMAGED_LIMIT
from mxface.recognition.config import (
    DEFAULT_KINDS,
    ENGINES,
    DataConfig,
    LossConfig,
    RunConfig,
    convert,
    read_defaults,
    read_network,
    read_part,
    resolve_dataset_path,
    warn_unknown_keys,
    warn_unused_loss_keys,
)
from mxface.recognition.config_file import read_config_file
from mxface.train.config import DTYPES, ON_NAN, WD_SCOPES, TrainConfig, require
from mxface.train.device import count_ranks
from mxface.train.process_group import TIMEOUT_S
from mxface.train.schedule import parse_lr_steps

log = logging.getLogger(__name__)

LOCAL_KVSTORES = ("device", "local")
USUAL_BATCH_SIZE = 128  # what train_parall.py and the commands of src/ take --per-batch-size 0 for


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The flags as typed, the `config` table as the user's file merged it, and the checked settings made of both."""

    flags: argparse.Namespace
    settings: Mapping[str, Any]
    run: RunConfig


def parse_arguments(argv: Sequence[str] | None, *, description: str, parall: bool = False) -> Arguments:
    """Read the config file, then the flags: an entry of the file may change a flag's default, an explicit flag wins.

    `parall`: of train_parall.py, which has flags and rules of its own.
    """
    chosen, _ = _choosing_parser({}).parse_known_args(argv)
    try:
        file = read_config_file(chosen.config)
    except ConfigError:
        if not {"-h", "--help"}.isdisjoint(sys.argv[1:] if argv is None else argv):
            _full_parser(dict.fromkeys(DEFAULT_KINDS), description, parall=parall).parse_args(argv)  # ends here
        raise
    chosen, _ = _choosing_parser(file.defaults).parse_known_args(argv)
    settings, defaults = file.generate(network=chosen.network, dataset=chosen.dataset, loss=chosen.loss)
    # an entry may hold `dataset = "emore"`, which must not outvote the flag
    defaults = read_defaults(defaults) | {"network": chosen.network, "dataset": chosen.dataset, "loss": chosen.loss}
    flags = _full_parser(defaults, description, parall=parall).parse_args(argv)
    file.warn_if_fallback()
    warn_unknown_keys(settings, defaults, file.path)
    if parall:
        _require_parall_can(flags, settings)
    with naming(flag_names(flags, unless=defaults)):
        run = _resolve(flags, settings, file.path.parent, parall=parall)
    warn_unused_loss_keys(settings, run.loss, file.path)
    return Arguments(flags=flags, settings=settings, run=run)


@contextlib.contextmanager
def naming(names: Mapping[str, str]) -> Iterator[None]:
    """An error about a setting of `names` is told under the name there, the one that the user typed."""
    try:
        yield
    except SettingError as error:
        raise error.named(names.get(error.name, error.name)) from error


def flag_names(flags: argparse.Namespace, *, unless: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The flag of every setting that is one, but of those whose value is that of the config file."""
    of_file = (unless or {}).items()
    typed = [name for name, value in vars(flags).items() if (name, value) not in of_file]
    return {name: f"--{name.replace('_', '-')}" for name in typed}


def _choosing_parser(defaults: Mapping[str, Any], **options: Any) -> argparse.ArgumentParser:
    """The flags that decide the defaults of the others."""
    parser = argparse.ArgumentParser(add_help=bool(options), allow_abbrev=False, **options)
    choice = parser.add_argument_group("what is trained (names of entries in the config file)")
    choice.add_argument(
        "--config", type=Path, help="settings file (default: config.py here, beside the command, or above it)"
    )
    choice.add_argument("--network", default=defaults.get("network"), help="backbone")
    choice.add_argument("--loss", default=defaults.get("loss"), help="loss")
    choice.add_argument("--dataset", default=defaults.get("dataset"), help="data set")
    return parser


def _full_parser(defaults: Mapping[str, Any], description: str, *, parall: bool) -> argparse.ArgumentParser:
    parser = _choosing_parser(defaults, description=description, formatter_class=HelpFormatter)

    files = parser.add_argument_group("files")
    files.add_argument(
        "--models-root", default=defaults["models_root"], help="output goes to its <network>-<loss>-<dataset>/"
    )
    files.add_argument(
        "--pretrained", default=defaults["pretrained"], help="start from this model: PREFIX, PREFIX,EPOCH or its folder"
    )
    files.add_argument(
        "--pretrained-epoch",
        type=int,
        default=defaults["pretrained_epoch"],
        help="its epoch, where --pretrained has none",
    )
    files.add_argument(
        "--ckpt",
        type=int,
        default=defaults["ckpt"],
        help="save: 0 never, 1 each best, 2 always, 3 the best, over the last one",
    )
    add_state_flags(files)

    training = parser.add_argument_group("training")
    training.add_argument("--lr", type=float, default=defaults["lr"], help="learning rate")
    training.add_argument(
        "--lr-steps", default=defaults["lr_steps"], help="batch numbers after which the rate is a tenth"
    )
    training.add_argument("--wd", type=float, default=defaults["wd"], help="weight decay")
    training.add_argument("--mom", type=float, default=defaults["mom"], help="momentum")
    training.add_argument(
        "--per-batch-size", type=int, default=defaults["per_batch_size"], help="images of a batch, per rank"
    )
    add_numerics_flags(training)

    progress = parser.add_argument_group("progress")
    progress.add_argument("--verbose", type=int, default=defaults["verbose"], help="batches between verifications")
    progress.add_argument("--frequent", type=int, default=defaults["frequent"], help="batches between speed lines")

    machine = add_machine_flags(parser)
    machine.add_argument("--kvstore", default=defaults["kvstore"], help="'device' or 'local': one machine")
    if parall:
        _add_parall_flags(parser)
    return parser


def _add_parall_flags(parser: argparse.ArgumentParser) -> None:
    classes = parser.add_argument_group("classes")
    classes.add_argument(
        "--sample-rate",
        type=float,
        default=1.0,
        help="share of the class centres that a step touches: its labels', the rest at random; 1: the exact softmax",
    )
    classes.add_argument(
        "--worker-id", type=int, default=0, help="2019's number of this machine, which never worked: 0; see torchrun"
    )


def _require_parall_can(flags: argparse.Namespace, settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for what train_parall.py is not made for."""
    if flags.worker_id or int(settings.get("num_workers", 1)) > 1:
        raise ConfigError(
            f"--worker-id {flags.worker_id}, num_workers (DMLC_NUM_WORKER) {settings.get('num_workers', 1)}: 2019's "
            "way to many machines never worked; leave both out and start torchrun on each machine (--help shows how)"
        )
    if str(settings.get("loss_name")).endswith("triplet"):
        raise ConfigError(f"--loss {flags.loss}: triplet losses have no classes to split; train.py trains them")
    if not settings.get("ckpt_embedding", True):
        log.warning("ckpt_embedding False has no effect: models hold the embedding alone, state/ has the class centres")
    if flags.engine != "torch":
        raise ConfigError(f"--engine {flags.engine}: classes are split by --engine torch alone; train.py has both")


def add_state_flags(files: argparse._ArgumentGroup) -> None:
    """The flags of training states, which 2019 did not have."""
    files.add_argument(
        "--resume", action="store_true", help="continue from the newest training state of the output folder"
    )
    files.add_argument(
        "--state-steps",
        type=int,
        help="batches between training states; 0: only on a signal and at the end (default: --verbose)",
    )


def add_numerics_flags(training: argparse._ArgumentGroup) -> None:
    """What a training command can be told of its numbers beyond 2019's flags."""
    training.add_argument(
        "--wd-scope", choices=WD_SCOPES, default="all", help="decay every parameter, as 2019 did, or the weights only"
    )
    training.add_argument(
        "--margin-warmup", type=int, default=0, help="batches over which the margin grows from nothing; 0: none"
    )
    training.add_argument(
        "--clip-grad",
        type=float,
        default=0.0,
        help="largest length of the backbone's gradient (class centres are not limited); 0: any",
    )
    training.add_argument(
        "--on-nan",
        choices=ON_NAN,
        default="stop",
        help="a loss or gradient that is not finite: stop, skip the batch, or also go back to the last training state",
    )
    training.add_argument("--seed", type=int, default=0, help="of the initial values, the order and the augmentation")
    training.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="of the backbone's products; parameters stay float32"
    )
    training.add_argument(
        "--head-dtype", choices=DTYPES, default="float32", help="of the products with the class centres"
    )
    training.add_argument(
        "--compile",
        action="store_true",
        help="compile the backbone (torch.compile): a slow first batch, on GPUs faster ones",
    )


def add_machine_flags(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Where and by how many processes a command trains."""
    machine = parser.add_argument_group("machine (CUDA_VISIBLE_DEVICES: unset = every GPU, '' = the CPU)")
    machine.add_argument(
        "--threads",
        type=int,
        default=0,
        help="CPU threads of a rank, for computing and for decoding; 0: its share of the cores",
    )
    machine.add_argument(
        "--workers",
        type=int,
        default=0,
        help="processes of each rank that decode images; 0: threads, which is enough for few cores or where a GPU "
        "takes few images a second (src/data/bench_data.py measures both)",
    )
    machine.add_argument(
        "--max-damaged", type=float, default=DAMAGED_LIMIT, help="share of damaged images that is skipped"
    )
    machine.add_argument(
        "--ranks", type=int, help="processes that train together (default: one a visible GPU; on the CPU, one)"
    )
    machine.add_argument(
        "--rank-timeout",
        type=float,
        default=TIMEOUT_S,
        help="seconds of silence after which a rank is an error on the others; one at work is not silent",
    )
    machine.add_argument(
        "--engine", choices=ENGINES, default="torch", help="what computes; mxnet: MXNet 1.9.1's Module, as in 2019"
    )
    machine.add_argument("--device", help="cpu, cuda or cuda:N, instead of CUDA_VISIBLE_DEVICES's first")
    return machine


def numerics_settings(flags: argparse.Namespace) -> dict[str, Any]:
    """What `add_numerics_flags` and `add_state_flags` tell the `TrainConfig`."""
    names = ("wd_scope", "margin_warmup", "clip_grad", "on_nan", "seed", "dtype", "head_dtype", "compile")
    state_steps = flags.verbose if flags.state_steps is None else flags.state_steps
    return {name: getattr(flags, name) for name in names} | {"state_steps": state_steps}


def machine_settings(flags: argparse.Namespace) -> dict[str, Any]:
    """What `add_machine_flags` and `add_state_flags` tell the `RunConfig`."""
    names = ("threads", "workers", "max_damaged", "engine", "device", "resume", "rank_timeout")
    ranks = count_ranks(flags.ranks, flags.device, engine=flags.engine)
    return {name: getattr(flags, name) for name in names} | {"ranks": ranks}


def rank_batch_size(flags: argparse.Namespace, loss: LossConfig, *, usual: int = USUAL_BATCH_SIZE) -> int:
    """`--per-batch-size`; 0 stands for the `usual` one."""
    size = int(flags.per_batch_size) or usual
    require(size > 0, "per_batch_size", size, "a number of images above 0")
    thirds = "a multiple of 3 (anchors, positives, negatives), such as 60"
    require(size % 3 == 0 or not loss.is_triplet, "per_batch_size", size, thirds)
    return size


def warn_idle_multipliers(flags: argparse.Namespace, loss: LossConfig) -> None:
    """Say that multipliers of fc7 do nothing under 2019's rule."""
    if flags.wd_scope == "all" and (loss.fc7_lr_mult, loss.fc7_wd_mult) != (1.0, 1.0):
        log.warning(
            "fc7_lr_mult %s and fc7_wd_mult %s have no effect, as in 2019; --wd-scope weights makes them count",
            loss.fc7_lr_mult,
            loss.fc7_wd_mult,
        )


def _resolve(flags: argparse.Namespace, settings: dict[str, Any], config_folder: Path, *, parall: bool) -> RunConfig:
    if flags.kvstore not in LOCAL_KVSTORES:
        raise ConfigError(
            f"--kvstore {flags.kvstore}: only 'device' and 'local' work, and are the same; several machines: torchrun"
        )
    loss = read_part(LossConfig, {**settings, "fc7_no_bias": True} if parall else settings)
    warn_idle_multipliers(flags, loss)
    # the path is resolved before the part is made, so that the part is never changed
    for key, meaning in (("net_name", "the graph of the network"), ("dataset_path", "the folder of the data set")):
        require(key in settings, key, None, meaning)
    folder = resolve_dataset_path(Path(settings["dataset_path"]), config_folder)
    family, network = read_network(settings)
    machine = machine_settings(flags)
    return RunConfig(
        prefix=Path(flags.models_root, f"{flags.network}-{flags.loss}-{flags.dataset}", "model"),
        net_family=family,
        net_name=str(settings["net_name"]),
        network=network,
        loss=loss,
        data=read_part(DataConfig, {**settings, "dataset_path": folder}),
        train=TrainConfig(
            batch_size=rank_batch_size(flags, loss, usual=USUAL_BATCH_SIZE if parall else 0) * machine["ranks"],
            lr=flags.lr,
            lr_steps=parse_lr_steps(flags.lr_steps),
            wd=flags.wd,
            mom=flags.mom,
            frequent=flags.frequent,
            verbose=flags.verbose,
            ckpt=flags.ckpt,
            max_steps=convert("max_steps", int, settings.get("max_steps", 0)),
            sample_rate=flags.sample_rate if parall else 1.0,
            **numerics_settings(flags),
        ),
        ckpt_embedding=parall or bool(settings.get("ckpt_embedding", True)),
        parall=parall,
        count_flops=bool(settings.get("count_flops", True)),
        pretrained=flags.pretrained,
        pretrained_epoch=flags.pretrained_epoch,
        **machine,
    )
