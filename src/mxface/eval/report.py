"""The verification report: one HTML file with figures, curves and the hardest pairs; opens offline, light or dark."""

from __future__ import annotations

import base64
import datetime
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import cv2
import numpy as np

import mxface
from mxface.eval.bad_cases import JudgedPair, find_hardest
from mxface.eval.charts import Axis, Rule, Series, chart, nice_ticks, outline
from mxface.eval.protocol import PairSet, VerificationResult
from mxface.eval.roc import TARGET_FAR, Evaluation, RocCurve, roc_curve
from mxface.formats.atomic import atomic_write

CURVES_SHOWN = 5  # as many as the style sheet has colours
PAIRS_SHOWN = 12
BINS = 60


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one judge, a model or the baseline, makes of a set."""

    judge: str
    xnorm: float
    plain: Evaluation
    flip: Evaluation

    @classmethod
    def of(cls, judge: str, result: VerificationResult) -> Judgement:
        """The part of a result that a report needs: without the embeddings."""
        return cls(judge=judge, xnorm=result.xnorm, plain=result.plain, flip=result.flip)


@dataclass(frozen=True)
class SetReport:
    """The judgements of one set, at least one of a model."""

    pairs: PairSet
    models: Sequence[Judgement]
    baseline: Judgement | None = None

    def ranked(self) -> list[Judgement]:
        """The models, the most accurate first."""
        return sorted(self.models, key=lambda judgement: -judgement.flip.mean)

    def shown(self) -> list[tuple[str, Judgement]]:
        """The judges that get a curve, each with its style."""
        shown = [(f"model-{place}", judgement) for place, judgement in enumerate(self.ranked()[:CURVES_SHOWN])]
        return shown + ([("pixels", self.baseline)] if self.baseline else [])

    def curve(self, judgement: Judgement) -> RocCurve:
        return roc_curve(judgement.flip.distances, self.pairs.issame)


def write_report(path: str | os.PathLike[str], sets: Sequence[SetReport], *, command: str = "") -> Path:
    """Write the report of one or more sets; `command` is shown as what made it. Returns the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "w") as file:
        file.write(render(sets, command=command))
    return path


def render(sets: Sequence[SetReport], *, command: str = "") -> str:
    """The report as a text."""
    template = Template(resources.files("mxface.eval").joinpath("report.html").read_text("utf-8"))
    judges = sorted({judgement.judge for each in sets for judgement in each.models})
    models = judges[0] if len(judges) == 1 else f"{len(judges)} models"
    when = datetime.datetime.now().astimezone()
    return template.substitute(
        title=escape(f"Face verification: {models} on {', '.join(each.pairs.name for each in sets)}"),
        subtitle=escape(f"mxface {mxface.__version__}, {when:%Y-%m-%d %H:%M %Z}"),
        summary=_summary(sets),
        sections="\n".join(_section(each) for each in sets),
        command=f'<code class="command">{escape(command)}</code>' if command else "",
    )


def _summary(sets: Sequence[SetReport]) -> str:
    rows = []
    for each in sets:
        best = each.ranked()[0]
        for judgement in [*each.models, *([each.baseline] if each.baseline else [])]:
            curve = each.curve(judgement)
            cells = [
                _accuracy(judgement.flip),
                _accuracy(judgement.plain),
                f"{judgement.flip.val:.2%}",
                f"{curve.equal_error_rate():.2%}",
                f"{curve.area():.4f}",
                "" if judgement is each.baseline else f"{judgement.xnorm:.3f}",
            ]
            marked = ' class="best"' if judgement is best else ""
            rows.append(
                f'<tr{marked}><th scope="row">{escape(each.pairs.name)}</th>{_cells(judgement.judge, cells)}</tr>'
            )
    heads = ["Accuracy", "Without mirroring", "Validation rate", "Equal error rate", "Area under ROC", "XNorm"]
    return _table("Every set and judge; the best model of each set in bold", ["Set", "Judge"], heads, rows)


def _section(report: SetReport) -> str:
    pairs, best = report.pairs, report.ranked()[0]
    same = int(pairs.issame.sum())
    height, width = pairs.images.shape[1:3]
    about = (
        f"{len(pairs.issame):,} pairs, {same:,} of one person and {len(pairs.issame) - same:,} of two, from "
        f"{len(pairs.images):,} pictures of {height}×{width}; {len(best.flip.accuracy)} folds. "
        f"Figures of {best.judge}{', the best of ' + str(len(report.models)) if len(report.models) > 1 else ''}."
    )
    histograms = [_histogram_card(report, best)]
    if report.baseline:
        histograms.append(_histogram_card(report, report.baseline))
    return "\n".join(
        [
            f'<section><h2>{escape(pairs.name)}</h2><p class="quiet">{escape(about)}</p>',
            _key_figures(report, best),
            '<div class="charts">',
            _roc_card(report),
            *histograms,
            _folds(report),
            "</div>",
            _galleries(report, best),
            "</section>",
        ]
    )


def _key_figures(report: SetReport, best: Judgement) -> str:
    curve = report.curve(best)
    lead = f"± {best.flip.std:.2%} over the folds"
    if report.baseline:
        points = 100 * (best.flip.mean - report.baseline.flip.mean)
        lead += f"; {abs(points):.1f} points {'above' if points >= 0 else 'below'} {report.baseline.judge}"
    figures = [
        ("Accuracy", f"{best.flip.mean:.2%}", lead),
        ("Without mirroring", f"{best.plain.mean:.2%}", f"± {best.plain.std:.2%}"),
        ("Validation rate", f"{best.flip.val:.2%}", f"± {best.flip.val_std:.2%}, false accepts {best.flip.far:.2%}"),
        ("Equal error rate", f"{curve.equal_error_rate():.2%}", f"area under the curve {curve.area():.4f}"),
        ("Threshold", f"{best.flip.thresholds.mean():.3f}", "squared distance, mean of the folds"),
        ("XNorm", f"{best.xnorm:.3f}", "mean length of the raw embeddings"),
    ]
    cards = [
        f"<div{' class=lead' if number == 0 else ''}><dt>{escape(name)}</dt>"
        f"<dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for number, (name, value, note) in enumerate(figures)
    ]
    return f'<dl class="figures">{"".join(cards)}</dl>'


def _roc_card(report: SetReport) -> str:
    shown = [(style, judgement.judge, report.curve(judgement)) for style, judgement in report.shown()]
    decades = max(1, int(np.ceil(np.log10(np.count_nonzero(~report.pairs.issame) or 1))))
    powers = [10.0**power for power in range(-decades, 1)]
    x = Axis(label="False accept rate", low=powers[0], high=1, ticks=powers, logarithmic=True)
    lowest = min(float(curve.tpr[curve.fpr <= x.low].max()) for _, _, curve in shown)
    low = min(0.9, np.floor(lowest * 10) / 10)
    y = Axis(label="True accept rate", low=low, high=1, ticks=np.linspace(low, 1, 6).tolist(), tick_format="{:.2f}")
    rates = ", ".join(f"{judge} {curve.equal_error_rate():.2%}" for _, judge, curve in shown)
    image = chart(
        [Series(style=style, x=curve.fpr, y=curve.tpr) for style, _, curve in shown],
        x,
        y,
        rules=[Rule(x=TARGET_FAR, label="1 in 1000", label_at_top=False)] if x.low < TARGET_FAR else [],
        description=f"ROC curves, false accept rate on a logarithmic scale. Equal error rates: {rates}.",
    )
    note = "Higher and further left is better."
    if len(report.models) > CURVES_SHOWN:
        note += f" The {CURVES_SHOWN} best of {len(report.models)} models."
    return _card("ROC curve", note, _legend((style, judge) for style, judge, _ in shown), image)


def _histogram_card(report: SetReport, judgement: Judgement) -> str:
    distances, issame = judgement.flip.distances, report.pairs.issame
    ticks = nice_ticks(max(float(distances.max()), 0.1))
    edges = np.linspace(0, ticks[-1], BINS + 1)
    groups = [("same", "one person", distances[issame]), ("different", "two people", distances[~issame])]
    outlines = [(style, *outline(values, edges)) for style, _, values in groups]
    shares = nice_ticks(max(float(y.max()) for _, _, y in outlines) * 1.08)
    threshold = float(judgement.flip.thresholds.mean())
    image = chart(
        [Series(style=style, x=x, y=y, filled=True) for style, x, y in outlines],
        Axis(label="Squared distance", low=0, high=ticks[-1], ticks=ticks),
        Axis(label="Share of pairs (%)", low=0, high=shares[-1], ticks=shares),
        rules=[Rule(x=threshold, label=f"threshold {threshold:.2f}")],
        description=(
            f"Distances by {judgement.judge}: median {_median(groups[0][2])} for one person, "
            f"{_median(groups[1][2])} for two people; threshold {threshold:.2f}."
        ),
    )
    legend = _legend((style, name) for style, name, _ in groups)
    return _card(f"Distances by {judgement.judge}", "The less the two overlap, the better.", legend, image)


def _median(values: np.ndarray) -> str:
    return f"{np.median(values):.2f}" if len(values) else "none"


def _folds(report: SetReport) -> str:
    shown = report.shown()
    heads = [head for _, judgement in shown for head in (judgement.judge, "threshold")]
    rows = []
    for fold in range(len(shown[0][1].flip.accuracy)):
        cells = [
            cell
            for _, judgement in shown
            for cell in (f"{judgement.flip.accuracy[fold]:.2%}", f"{judgement.flip.thresholds[fold]:.2f}")
        ]
        rows.append(f'<tr><th scope="row">{fold + 1}</th>{_cells(None, cells)}</tr>')
    return _table("Accuracy and threshold of every fold", ["Fold"], heads, rows, style="folds")


def _galleries(report: SetReport, judgement: Judgement) -> str:
    same, different = find_hardest(judgement.flip, report.pairs.issame, PAIRS_SHOWN)
    return "\n".join(
        f'<h3>{title}</h3><p class="quiet">{note}</p>{_gallery(report.pairs, judged)}'
        for title, note, judged in (
            ("One person, looking least alike", "Same-person pairs, the farthest beyond their threshold first.", same),
            ("Two people, looking most alike", "Different-person pairs, the deepest below it first.", different),
        )
        if judged
    )


def _gallery(pairs: PairSet, judged: Sequence[JudgedPair]) -> str:
    items = []
    for pair, distance, threshold in judged:
        issame = bool(pairs.issame[pair])
        right = (distance < threshold) == issame
        who = "the same person" if issame else "two different people"
        pictures = "".join(
            f'<img src="{_data_url(picture)}" alt="Pair {pair}, {which} of two pictures of {who}">'
            for which, picture in zip(("first", "second"), pairs.pair(pair), strict=True)
        )
        verdict = ("right", "✓ right") if right else ("wrong", "✗ wrong")
        items.append(
            f'<li class="{verdict[0]}"><div class="two">{pictures}</div>'
            f"<p><b>{verdict[1]}</b> · pair {pair}<br>distance {distance:.3f}<br>threshold {threshold:.3f}</p></li>"
        )
    return f'<ul class="gallery">{"".join(items)}</ul>'


def _data_url(picture: np.ndarray) -> str:
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), (cv2.IMWRITE_JPEG_QUALITY, 92))[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _card(title: str, note: str, legend: str, image: str) -> str:
    return (
        f'<figure class="card"><h3>{escape(title)}</h3><figcaption>{escape(note)}</figcaption>{legend}{image}</figure>'
    )


def _legend(entries: Iterable[tuple[str, str]]) -> str:
    return f'<ul class="legend">{"".join(f"<li class={style}>{escape(name)}</li>" for style, name in entries)}</ul>'


def _table(caption: str, text_heads: Sequence[str], heads: Sequence[str], rows: Iterable[str], style: str = "") -> str:
    texts = "".join(f'<th scope="col" class="text">{escape(head)}</th>' for head in text_heads)
    numbers = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<div class="card scroll {style}"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{texts}{numbers}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cells(text: str | None, numbers: Iterable[str]) -> str:
    first = "" if text is None else f'<td class="text">{escape(text)}</td>'
    return first + "".join(f"<td>{escape(number)}</td>" for number in numbers)


def _accuracy(evaluation: Evaluation) -> str:
    return f"{evaluation.mean:.2%} ± {evaluation.std:.2%}"
