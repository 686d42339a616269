"""The network of a run: its graph, the start of its parameters, and the files it is saved to."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mxface.errors import ConfigError, DataError, SaveError
from mxface.formats.atomic import sweep
from mxface.formats.checkpoint import list_epochs, params_path, split_model
from mxface.graph import Checkpoint, Symbol, load_checkpoint, save_checkpoint
from mxface.losses import SoftmaxHead
from mxface.losses.softmax_head import WEIGHT
from mxface.ranks import Ranks
from mxface.recognition.config import RunConfig
from mxface.recognition.head import build_head
from mxface.symbols import get_symbol, heads
from mxface.train.initializer import init_params
from mxface.train.learner import Learner, Trainee
from mxface.train.optimizer import NO_MULTIPLIERS, named_multipliers

log = logging.getLogger(__name__)

Params = dict[str, npt.NDArray[np.float32]]
INPUTS = ("data", "softmax_label")
PLAIN_MARGINS = ("margin_softmax", "intra", "inter", "sub_centre")
NO_MARGIN = heads.Margin(1.0, 0.0, 0.0)


def build_embedding(run: RunConfig) -> Symbol:
    """The graph up to `fc1_output`."""
    if run.pretrained and run.pretrained_symbol:
        prefix, epoch = find_pretrained(run.pretrained, run.pretrained_epoch)
        return load_checkpoint(prefix, epoch).symbol.select_outputs(("fc1_output",))
    shape = run.data.image_shape
    try:
        return get_symbol(run.net_name, family=run.net_family, image_shape=shape, **asdict(run.network))
    except ConfigError as exc:
        raise ConfigError(f"--network: {exc}") from exc


def add_head(embedding: Symbol, run: RunConfig, num_classes: int, *, devices: int = 1) -> Symbol:
    """The graph that MXNet would train: embedding, softmax and, with `ce_loss`, the cross-entropy; or a triplet loss.

    It is for a batch split over so many devices. Of curricularface, magface and adaface the graph is that of the
    cosines without the margin: what a saved model predicts with, not what MXNet could train. Nor is in it what intra,
    inter and the centre loss add.
    """
    loss, batch_size = run.loss, run.train.batch_size // devices
    if loss.loss_name == "triplet":
        return heads.triplet_loss(embedding, batch_size=batch_size, alpha=loss.triplet_alpha)
    if loss.loss_name == "atriplet":
        return heads.angular_triplet_loss(embedding, batch_size=batch_size, alpha=loss.triplet_alpha)
    options: dict[str, Any] = {
        "num_classes": num_classes,
        "emb_size": run.network.emb_size,
        "batch_size": batch_size,
        "ce_loss": loss.ce_loss,
        "lr_mult": loss.fc7_lr_mult,
        "wd_mult": loss.fc7_wd_mult,
    }
    if loss.is_plain:
        return heads.softmax_loss(embedding, no_bias=loss.fc7_no_bias, **options)
    if loss.loss_name == "sub_centre":
        options["sub_centres"] = loss.loss_sub_centres
    margin: heads.Margin | heads.Threshold = NO_MARGIN
    if loss.loss_name == "threshold_margin":
        margin = heads.Threshold(loss.loss_m2, loss.loss_easy_margin)
    elif loss.loss_name in PLAIN_MARGINS:
        margin = heads.Margin(loss.loss_m1, loss.loss_m2, loss.loss_m3)
    return heads.margin_softmax_loss(embedding, s=loss.loss_s, margin=margin, **options)


def find_pretrained(model: str, epoch: int) -> tuple[Path, int]:
    """Prefix and epoch that `--pretrained` means: `prefix`, `prefix,epoch`, or a folder (its `model`) with either.

    `epoch` is that of a `model` without one. Raises ConfigError, DataError where there is no such file.
    """
    prefix, epochs = split_model(model, flag="--pretrained")
    if len(epochs) > 1:
        raise ConfigError(f"--pretrained {model}: expected one epoch, as in {prefix},{epochs[0]}")
    path = Path(prefix, "model") if Path(prefix).is_dir() else Path(prefix)
    number = epochs[0] if epochs else epoch
    if not params_path(path, number).is_file():
        there = list_epochs(path)
        way_out = (
            f"the epochs there are {', '.join(map(str, there))}, so name one: --pretrained {path},{there[-1]}"
            if there
            else f"there is no {path.name}-NNNN.params at all; name a model, PREFIX,EPOCH, or its folder"
        )
        raise DataError(f"--pretrained {model}: {params_path(path, number)}: no such file; {way_out}")
    return path, number


def start_params(embedding: Symbol, run: RunConfig, pretrained: Checkpoint | None) -> Params:
    """Values for every argument and auxiliary state of the embedding: the pretrained ones, the rest initialised."""
    height, width, channels = run.data.image_shape
    arguments, _, states = embedding.infer_shape(data=(1, channels, height, width))
    shapes = {name: shape for name, shape in {**arguments, **states}.items() if name != "data"}
    params = init_params(embedding, shapes, run.net_name, np.random.default_rng(run.train.seed))
    if pretrained is None:
        return params
    given = {**pretrained.arg_params, **pretrained.aux_params}
    used = {name: given[name] for name in shapes if name in given}
    for name, array in used.items():
        if array.shape != shapes[name]:
            raise ConfigError(
                f"--pretrained: {name} is {array.shape} there and {shapes[name]} in --network's graph; "
                "fine-tune the network that it is"
            )
    if not used:
        raise ConfigError(
            "--pretrained: none of its parameters is one of --network's; fine-tune the network that it is"
        )
    log.info("%d of %d parameters come from the pretrained model", len(used), len(shapes))
    return {**params, **used}


def build_learner(
    run: RunConfig,
    embedding: Symbol,
    training: Symbol,
    num_classes: int,
    pretrained: Checkpoint | None,
    device: torch.device,
    ranks: Ranks,
    *,
    contexts: Sequence[Any] = (),
) -> Trainee:
    """The learner of this rank at its start. `training` is the graph with the head, `contexts` are MXNet's devices."""
    params = start_params(embedding, run, pretrained)
    head = build_head(run, num_classes, ranks)
    if pretrained is not None and isinstance(head, SoftmaxHead):
        _take_pretrained_head(head, pretrained)
    if contexts:
        from mxface.recognition.mxnet_model import build_mxnet_learner

        params |= {name: parameter.detach().numpy() for name, parameter in head.named_parameters()}
        return build_mxnet_learner(run, embedding, num_classes, params, contexts)
    return Learner(
        embedding,
        params,
        head,
        run.train,
        device=device,
        multipliers=named_multipliers(training, INPUTS) if run.train.wd_scope == "weights" else NO_MULTIPLIERS,
        ranks=ranks,
    )


def _take_pretrained_head(head: SoftmaxHead, pretrained: Checkpoint) -> None:
    """Class centres that were saved with the model (`ckpt_embedding` off), if they are for as many classes."""
    for name, parameter in head.named_parameters():
        array = pretrained.arg_params.get(name)
        if array is None:
            continue
        shape = (head.config.num_classes, *parameter.shape[1:])
        if array.shape == shape:
            own = array[head.class_range.start : head.class_range.stop]
            parameter.data.copy_(torch.from_numpy(np.array(own)))
        else:
            log.warning("--pretrained: its %s is %s, here %s: it starts anew", name, array.shape, shape)


def save_model(prefix: Path, number: int, *, symbol: Symbol, learner: Trainee, ranks: Ranks) -> Path:
    """Write what `symbol` needs of the learner, the embedding alone or with the head on top; the `.params` written.

    All ranks call, and the main one writes; what an earlier, killed run had begun to write there goes.
    """
    names = set(symbol.list_arguments())
    arguments, states = learner.export(with_head=WEIGHT in names)

    def write() -> None:
        sweep(f"{prefix}-")
        needed = {name: array for name, array in arguments.items() if name in names}
        try:
            save_checkpoint(prefix, number, symbol, needed, states)
        except OSError as exc:
            way_out = "make room for it, and --resume goes on from the last training state"
            raise SaveError.of(params_path(prefix, number), exc, way_out=way_out) from exc

    ranks.on_main(write)
    return params_path(prefix, number)
