"""Verification during training: 2019's lines, and the model that its rule keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mxface.eval.protocol import PairSet, verify
from mxface.train.checkpoint import SaveRule
from mxface.train.learner import Trainee
from mxface.train.log import RunLog


class Judge:
    """Verifies `learner` on `pair_sets`; where the rule says so, `save(number)` writes the model (its path)."""

    def __init__(
        self,
        learner: Trainee,
        pair_sets: Sequence[PairSet],
        rule: SaveRule,
        save: Callable[[int], Path],
        *,
        batch_size: int,
        log: RunLog,
    ) -> None:
        self._learner = learner
        self._rule = rule
        self._pair_sets = pair_sets
        self._save = save
        self._batch_size = batch_size
        self._log = log

    def verify(self, step: int) -> None:
        """One verification after batch `step`."""
        accuracies = []
        for pairs in self._pair_sets:
            result = verify(self._learner.embed, pairs, batch_size=self._batch_size, progress=True, say=self._log.say)
            self._log.say(f"[{pairs.name}][{step}]XNorm: {result.xnorm:f}")
            self._log.say(f"[{pairs.name}][{step}]Accuracy-Flip: {result.acc2:1.5f}+-{result.std2:1.5f}")
            self._log.scalars(step, {f"{pairs.name}/accuracy_flip": result.acc2, f"{pairs.name}/xnorm": result.xnorm})
            accuracies.append(result.acc2)
        number = self._rule.number_to_save(accuracies)
        if number is not None:
            self._log.say(f"saving {number}")
            self._log.mxnet_line(f'Saved checkpoint to "{self._save(number)}"')
        self._log.say(f"[{step}]Accuracy-Highest: {self._rule.best_last:1.5f}")
