"""What learns, where MXNet computes: 2019's Module and SGD on our graphs, behind the interface of `learner.Learner`.

The numbers are MXNet's own. Three of them are not the torch engine's:

    PReLU        1.9.1 gives the gradient of a slope times the slope, a defect; it is left as it is
    arccos       a target's cosine of exactly ±1 gives a gradient that is not a number; such a batch is not learned from
    several GPUs each normalises its own share of a batch, and a triplet is one GPU's

The loss that is reported and checked is log-sum-exp(z) - z_y, taken from the logits: finite where 2019's ce_loss,
-log(softmax), rounds to infinity. MXNet was retired in 2023, so the private names of 1.9.1 used here will not change.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mxface.cpus import usable_cpus
from mxface.errors import ConfigError
from mxface.graph import Group, Symbol, sym
from mxface.graph.naming import network_names
from mxface.loaders import Batch
from mxface.losses import HeadOutput
from mxface.runtime.mxnet_engine import import_mxnet
from mxface.train.config import TrainConfig
from mxface.train.guard import NotFiniteError
from mxface.train.learner import Arrays, Check, TrainedBatch, require_labels

DATA, LABEL = "data", "softmax_label"
PLANNED = re.compile(r"Total (\d+) MB allocated")
ARRAYS_AT_ONCE = 200  # MXNet's multi_all_finite has room for no more, and does not say so
WAY_OUT = "install the mxnet-cu… build for it, or set CUDA_VISIBLE_DEVICES='' (or --device cpu) to train on the CPU"


def choose_contexts(requested: str | None, *, threads: int = 0, say: Callable[[str], object]) -> list[Any]:
    """MXNet's devices: the `--device` asked for, else every GPU of CUDA_VISIBLE_DEVICES (unset: all), else the CPU.

    Says it in 2019's words. `threads` are the CPU's, 0 for all cores; they count until MXNet is first imported. Raises
    ConfigError where the choice does not exist, DependencyError without MXNet.
    """
    if threads or "OMP_NUM_THREADS" not in os.environ:
        # torch has loaded OpenMP by now: MXNet sets its own threads only where this variable is absent
        os.environ.pop("OMP_NUM_THREADS", None)
        os.environ["MXNET_OMP_MAX_THREADS"] = str(threads or usable_cpus())
    mx = import_mxnet()
    count, visible = mx.context.num_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    kind, _, index = (requested or "").partition(":")
    if requested is not None and (kind not in ("cpu", "cuda") or (index and not index.isdecimal())):
        raise ConfigError(f"--device {requested}: expected cpu, cuda or cuda:N")
    if kind == "cuda" and int(index or 0) >= count:
        raise ConfigError(f"--device {requested}: this MXNet sees {count} GPUs; {WAY_OUT}")
    if requested is None and visible and not count:
        raise ConfigError(f"CUDA_VISIBLE_DEVICES is {visible!r}, but this MXNet sees no GPU; {WAY_OUT}")
    if kind == "cuda":
        return [mx.gpu(int(index or 0))]
    if kind == "cpu" or visible == "" or not count:
        say("use cpu")
        return [mx.cpu()]
    say(f"gpu num: {count}")
    return [mx.gpu(number) for number in range(count)]


class MxnetLearner:
    """One network in training, its batches split evenly over `contexts`. B images of a batch, D values of an embedding.

    `embedding` is the graph up to `fc1_output`, `training` the graph with the loss, built for the batch of one context;
    `params` are the start of every argument, the head's too, and of every auxiliary state. `triplet_alpha` is that of
    a triplet loss, whose batch is anchors, positives and negatives of each device in turn; None for a softmax.
    """

    device = torch.device("cpu")  # of the tensors that are given out

    def __init__(
        self,
        embedding: Symbol,
        training: Symbol,
        params: Mapping[str, npt.NDArray[np.float32]],
        config: TrainConfig,
        *,
        image_shape: tuple[int, int, int],
        contexts: Sequence[Any],
        triplet_alpha: float | None = None,
    ) -> None:
        self._mx = import_mxnet()
        self._config = config
        self._contexts = list(contexts)
        if config.batch_size % len(self._contexts):
            raise ConfigError(f"batch size {config.batch_size}: must be a multiple of the {len(self._contexts)} GPUs")
        self._num_classes = len(params["fc7_weight"]) if "fc7_weight" in params else None
        self._triplet_alpha = triplet_alpha
        self._embedding = self._mx.sym.load_json(embedding.tojson())
        self._embedders: dict[int, tuple[tuple[int, ...], Any]] = {}
        height, width, channels = image_shape
        self._module = self._mx.mod.Module(
            self._mx.sym.load_json(with_losses(training).tojson()),
            data_names=[DATA],
            label_names=[LABEL],
            context=self._contexts,
        )
        self._module.bind(
            [(DATA, (config.batch_size, channels, height, width))], [(LABEL, (config.batch_size,))], for_training=True
        )
        self._group = self._module._exec_group
        self._set_params(params)
        self._start_optimizer({name: np.zeros_like(params[name]) for name in self._group.param_names})

    def train_batch(self, batch: Batch, *, step: int, lr: float, check: Check) -> TrainedBatch:
        """One update, number `step` (from 1); see `Trainee`.

        NotFiniteError: a gradient is not finite, and nothing has changed.
        """
        trained = self._forward(batch, step)
        check(trained.output)
        statistics = copies(self._group.aux_arrays)
        self._mx.nd.waitall()  # BatchNorm's backward writes them, and does not tell MXNet's scheduler that it does
        self._module.backward()
        if not self._gradients_are_finite():
            restore(self._group.aux_arrays, statistics)
            raise NotFiniteError("the loss is finite, but a gradient is not")
        self._optimizer.set_learning_rate(lr)
        self._module.update()
        return trained

    def preview(self, batch: Batch, *, step: int) -> HeadOutput:
        """What `batch` as number `step` would give; see `Trainee`."""
        parameters = [arrays for arrays in self._group.param_arrays if arrays[0].ndim == 1]
        written = [*parameters, *self._group.aux_arrays]  # by a training forward: fixed gammas, moving statistics
        before = copies(written)
        output = self._forward(batch, step).output
        self._mx.nd.waitall()
        restore(written, before)
        return output

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw embeddings (B, D) of RGB images (B, H, W, 3), with the moving statistics; a share on each device."""
        self._mx.nd.waitall()
        outputs = []
        for number, share in enumerate(np.array_split(images, len(self._contexts))):
            if len(share):
                data = self._images(share)
                outputs.append(self._embedder(number, data.shape).forward(is_train=False, **{DATA: data})[0])
        return np.concatenate([output.asnumpy() for output in outputs])

    def planned_bytes(self) -> int:
        """What MXNet has planned for the maps of a batch and their gradients, on all devices together."""
        found = (PLANNED.search(executor.debug_str()) for executor in self._group.execs)
        return sum(int(match[1]) << 20 for match in found if match)

    def tensors(self) -> dict[str, Tensor]:
        """All that training changes, by the names of `Learner`; copies, which `load` takes back."""
        args, aux = self.export()
        momentum = self._momentum()
        table = {f"backbone/{name}": array for name, array in {**args, **aux}.items() if not is_head(name)}
        table |= {f"momentum/{name}": array for name, array in momentum.items() if not is_head(name)}
        table |= {f"head/{name}": array for name, array in args.items() if is_head(name)}
        table |= {f"head/{name}_momentum": array for name, array in momentum.items() if is_head(name)}
        return {name: torch.from_numpy(array) for name, array in table.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from such a table; other names in it are passed over."""
        head = [name for name in self._group.param_names if is_head(name)]
        keys = {
            name: f"head/{name}" if name in head else f"backbone/{name}"
            for name in (*self._group.param_names, *self._group.aux_names)
        }
        self._set_params({name: tensors[key].numpy() for name, key in keys.items()})
        self._start_optimizer(
            {
                name: tensors[f"head/{name}_momentum" if name in head else f"momentum/{name}"].numpy()
                for name in self._group.param_names
            }
        )

    def export(self, *, with_head: bool = True) -> tuple[Arrays, Arrays]:  # noqa: ARG002 (the head costs nothing here)
        """Arguments (the head's too) and auxiliary states, by MXNet's names; the mean where devices have their own."""
        args, aux = ({name: array.asnumpy() for name, array in part.items()} for part in self._params())
        return args, aux

    def average_statistics(self) -> None:
        """Give every device the mean of BatchNorm's moving statistics over the devices."""
        if len(self._contexts) > 1:
            self._group.set_params(*self._params())

    def _params(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Module's own copies of arguments and states, brought up to date."""
        self._mx.nd.waitall()
        self._module._params_dirty = True  # Module knows of its updates, not of what a backward alone writes
        args, aux = self._module.get_params()
        return args, aux

    def _images(self, data: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> Any:
        """(B, H, W, 3) to (B, 3, H, W) float32, by MXNet's threads; handed over as bytes where they are bytes."""
        return self._mx.nd.array(data, dtype=data.dtype).transpose((0, 3, 1, 2)).astype(np.float32)

    def _forward(self, batch: Batch, step: int) -> TrainedBatch:
        """What the batch gives; waits for it."""
        if self._num_classes is not None:
            require_labels(batch.label, self._num_classes)
        # dropout's masks follow from (seed, step), as in `Learner`
        self._mx.random.seed(int(np.random.SeedSequence((self._config.seed, step)).generate_state(1)[0] >> 1))
        fed = self._mx.io.DataBatch([self._images(batch.data)], [self._mx.nd.array(batch.label)])
        self._module.forward(fed, is_train=True)
        return self._trained(batch.label)

    def _trained(self, label: npt.NDArray[np.int64]) -> TrainedBatch:
        """What the forward gave; rows in the order of the devices, which is the batch's."""
        embedding, predicted, row_loss, *_ = self._module.get_outputs(merge_multi_context=False)
        losses = torch.from_numpy(rows(row_loss).reshape(-1))
        if self._triplet_alpha is not None:
            correct = losses < self._triplet_alpha
        else:
            best = rows([self._mx.nd.argmax(probability, axis=1) for probability in predicted])
            correct = torch.from_numpy(best.astype(np.int64) == label)
        return TrainedBatch(HeadOutput(losses.mean(), losses, correct), torch.from_numpy(rows(embedding)))

    def _gradients_are_finite(self) -> bool:
        """Waits for the backward."""
        nd = self._mx.nd
        flags = []
        for gradients in zip(*self._group.grad_arrays, strict=True):  # of one device
            parts = [gradients[start : start + ARRAYS_AT_ONCE] for start in range(0, len(gradients), ARRAYS_AT_ONCE)]
            flags += [nd.multi_all_finite(*part, num_arrays=len(part)) for part in parts]
        return all(flag.asscalar() == 1 for flag in flags)

    def _embedder(self, number: int, shape: tuple[int, ...]) -> Any:
        """An executor up to the embedding on one device, with the very arrays that are trained; one is kept."""
        kept_shape, executor = self._embedders.get(number, ((), None))
        if kept_shape != shape:
            trained, context = self._group.execs[number], self._contexts[number]
            arrays = {**trained.arg_dict, DATA: self._mx.nd.zeros(shape, context)}
            arguments = {name: arrays[name] for name in self._embedding.list_arguments()}
            states = {name: trained.aux_dict[name] for name in self._embedding.list_auxiliary_states()}
            executor = self._embedding.bind(context, arguments, grad_req="null", aux_states=states)
            self._embedders[number] = (shape, executor)
        return executor

    def _set_params(self, params: Mapping[str, npt.NDArray[np.float32]]) -> None:
        arrays = {name: self._mx.nd.array(array) for name, array in params.items()}
        args, aux = (
            {name: arrays[name] for name in names} for names in (self._group.param_names, self._group.aux_names)
        )
        self._module.init_params(None, args, aux, force_init=True)

    def _start_optimizer(self, momentum: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """2019's SGD, made without the graph, so that no multiplier acts, or with it for `--wd-scope weights`."""
        config, count = self._config, len(self._contexts)
        known = {}
        if config.wd_scope == "weights":
            names = [name for name in self._group.param_names for _ in range(count)]
            known = {"sym": self._module.symbol, "param_idx2name": dict(enumerate(names))}
        self._optimizer = self._mx.optimizer.SGD(
            learning_rate=config.lr, momentum=config.mom, wd=config.wd, rescale_grad=1.0 / count, **known
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Optimizer created manually outside Module")  # the loss has divided by B
            self._module.init_optimizer("device", self._optimizer, force_init=True)
        updater, keys = self._updater()
        updater.states = {key: self._mx.nd.array(momentum[name]) for name in keys for key in keys[name]}
        updater.states_synced = dict.fromkeys(updater.states, False)  # moved to their devices by the first update

    def _momentum(self) -> Arrays:
        updater, keys = self._updater()
        return {name: updater.states[key].asnumpy() for name, (key, *_) in keys.items()}

    def _updater(self) -> tuple[Any, dict[str, list[Any]]]:
        """What holds the momentum buffers, and its keys for each parameter."""
        names, count = self._group.param_names, len(self._contexts)
        if self._module._update_on_kvstore:
            return self._module._kvstore._updater, {name: [name] for name in names}
        keys = {name: [index * count + number for number in range(count)] for index, name in enumerate(names)}
        return self._module._updater, keys


def with_losses(training: Symbol) -> Symbol:
    """The graph whose outputs are the embedding, what has the gradient, and each row's (or triplet's) loss.

    That of triplets goes on giving its label, an input that Module wants to see.
    """
    with network_names(after=training.nodes):
        source = next(head for head in training if head.heads[0].node.op in ("SoftmaxOutput", "MakeLoss"))
        node = source.heads[0].node
        if node.op == "SoftmaxOutput":
            logits, label = (Symbol([entry]) for entry in node.inputs)
            losses = -sym.pick(sym.log_softmax(logits), label, axis=1)
            return Group([training[0], source, sym.BlockGrad(losses)])
        losses = Symbol([node.inputs[0].node.inputs[0]])  # what the mean is of
        return Group([training[0], source, sym.BlockGrad(losses), training[1]])


def copies(arrays: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Of every device's array of each parameter or state."""
    return [[array.copy() for array in devices] for devices in arrays]


def restore(arrays: Sequence[Sequence[Any]], values: Sequence[Sequence[Any]]) -> None:
    """Write `copies` back."""
    for devices, before in zip(arrays, values, strict=True):
        for array, value in zip(devices, before, strict=True):
            value.copyto(array)


def is_head(name: str) -> bool:
    """Whether a parameter is the head's, not the backbone's."""
    return name.startswith("fc7_")


def rows(shares: Sequence[Any]) -> npt.NDArray[np.float32]:
    """The devices' shares of one output, one after another."""
    return np.concatenate([share.asnumpy() for share in shares])
