"""The report: one file that asks nothing of the network, says its figures, and describes its pictures."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support.faces import encoded_pairs

from mxface.eval.protocol import PairSet, decode_pair_set, pixel_embedder, verify
from mxface.eval.report import CURVES_SHOWN, PAIRS_SHOWN, Judgement, SetReport, render, write_report

VOID = {"meta", "img", "br", "path"}


class Page(HTMLParser):
    """Collects elements, and checks that each one that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def pairs() -> PairSet:
    return decode_pair_set("people & friends", *encoded_pairs(40, size=(56, 56)), (56, 56))


@pytest.fixture(scope="module")
def sections(pairs: PairSet) -> list[SetReport]:
    judgements = [Judgement.of(f"model-{side:04d}", verify(pixel_embedder(side), pairs)) for side in (2, 8, 3)]
    baseline = Judgement.of("plain pixels", verify(pixel_embedder(), pairs))
    return [SetReport(pairs, judgements, baseline), SetReport(pairs, judgements[:1])]


def test_the_file_is_whole_and_offline(tmp_path: Path, sections: list[SetReport]) -> None:
    path = write_report(tmp_path / "new" / "report.html", sections, command="verification.py --target 'a & b'")
    text = path.read_text("utf-8")
    page = Page(text)
    assert not page.find("link")
    assert not page.find("script")
    assert not re.search(r"(https?:)?//\w", re.sub(r"base64,[^\"]*", "", text))
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.find("img"))
    assert "verification.py --target &#x27;a &amp; b&#x27;" in text
    assert "people &amp; friends" in text
    assert "$" not in text


def test_every_picture_and_chart_is_described(sections: list[SetReport]) -> None:
    page = Page(render(sections))
    assert all(image["alt"] for image in page.find("img"))
    assert all(image["role"] == "img" and image["aria-label"] for image in page.find("svg"))
    assert len(page.find("svg")) == 3 + 2  # with a baseline: a curve and two histograms
    assert len(page.find("img")) == 2 * 2 * 2 * PAIRS_SHOWN
    assert {style["name"] for style in page.find("meta") if "name" in style} >= {"viewport", "color-scheme"}


def test_the_figures_are_those_of_the_judgements(sections: list[SetReport]) -> None:
    text = render(sections)
    for judgement in sections[0].models:
        assert f"<td>{judgement.flip.mean:.2%} ± {judgement.flip.std:.2%}</td>" in text
        assert f"<td>{judgement.plain.mean:.2%} ± {judgement.plain.std:.2%}</td>" in text
    best = max(sections[0].models, key=lambda judgement: judgement.flip.mean)
    assert f"Figures of {best.judge}, the best of 3." in text
    points = 100 * (best.flip.mean - sections[0].baseline.flip.mean)
    assert f"{abs(points):.1f} points {'above' if points >= 0 else 'below'} plain pixels" in text


def test_the_pictures_are_those_of_the_hardest_pair(pairs: PairSet, sections: list[SetReport]) -> None:
    evaluation = sections[1].models[0].flip
    margins = np.where(pairs.issame, evaluation.distances - evaluation.pair_thresholds(), -np.inf)
    hardest = int(margins.argmax())
    image = Page(render(sections[1:])).find("img")[0]
    assert image["alt"] == f"Pair {hardest}, first of two pictures of the same person"
    encoded = base64.b64decode(image["src"].partition(",")[2])
    shown = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(shown.astype(int) - pairs.pair(hardest)[0]).mean() < 6


def test_more_models_than_colours(pairs: PairSet, sections: list[SetReport]) -> None:
    many = [sections[0].models[0]] * (CURVES_SHOWN + 2)
    text = render([SetReport(pairs, many)])
    assert f"The {CURVES_SHOWN} best of {CURVES_SHOWN + 2} models." in text
    assert f"line model-{CURVES_SHOWN - 1}" in text
    assert f"line model-{CURVES_SHOWN}" not in text


@pytest.mark.parametrize("same", [True, False])
def test_a_set_of_one_class_gets_a_report(same: bool) -> None:
    files, _ = encoded_pairs(4, size=(56, 56))
    pairs = decode_pair_set("one", files, [same] * 4, (56, 56))
    text = render([SetReport(pairs, [Judgement.of("model", verify(pixel_embedder(), pairs, nrof_folds=2))])])
    assert len(Page(text).find("ul")) == 2 + 1  # two legends and one gallery
    assert "nan" not in text
