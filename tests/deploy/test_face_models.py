"""The two FaceModel classes, used as modules of 2019 were: with an argparse namespace."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from tests.support.mtcnn_files import landmark_in, save_constant_mtcnn
from tests.support.scene import HEIGHT, WIDTH, Scene

from mxface.align.geometry import preprocess
from mxface.deploy import face_embedding, face_model
from mxface.deploy.face import decode_gender_age, normalize
from mxface.errors import ConfigError
from mxface.runtime import load_predictor, make_embedder


def arguments(scene: Scene, **changes: object) -> Namespace:
    defaults = {
        "image_size": "112,112",
        "model": scene.model,
        "ga_model": scene.ga_model,
        "gpu": -1,
        "det": 1,
        "flip": 0,
        "threshold": 1.24,
        "mtcnn_path": scene.mtcnn,
    }
    return Namespace(**defaults | changes)


def expected_aligned(scene: Scene, image_size: str = "112,112") -> np.ndarray:
    """RGB: the networks take the whole image for a face."""
    return preprocess(scene.image(), None, landmark_in(0, 0, WIDTH - 1, HEIGHT - 1), image_size)[:, :, ::-1]


def raw_embedding(scene: Scene, model: str, aligned: np.ndarray) -> np.ndarray:
    prefix, epoch = model.split(",")
    return make_embedder(load_predictor(prefix, int(epoch), device="cpu"))(aligned[np.newaxis])[0]


def test_face_model_aligns_embeds_and_guesses(scene: Scene) -> None:
    model = face_model.FaceModel(arguments(scene))
    aligned = model.get_input(scene.image())
    assert aligned is not None
    assert aligned.dtype == np.uint8
    expected = expected_aligned(scene)
    # the landmarks are float32 here and float64 there: a pixel at the image's edge may differ
    assert np.abs(aligned.astype(int) - expected.transpose(2, 0, 1)).mean() < 0.01

    seen = aligned.transpose(1, 2, 0)
    raw = raw_embedding(scene, scene.model, seen)
    np.testing.assert_allclose(model.get_feature(aligned), raw / np.linalg.norm(raw), atol=1e-5)
    both = raw + raw_embedding(scene, scene.model, seen[:, ::-1].copy())
    np.testing.assert_allclose(model.get_feature(aligned, flip=True), both / np.linalg.norm(both), atol=1e-5)
    assert model.get_ga(aligned) == decode_gender_age(raw_embedding(scene, scene.ga_model, seen))


def test_gender_is_the_greater_of_two_and_age_a_count_of_years() -> None:
    output = np.zeros(202, np.float32)
    output[:2] = (0.1, 0.2)
    output[2:202].reshape(100, 2)[:37, 1] = 1
    output[2:202].reshape(100, 2)[37:, 0] = 1
    assert decode_gender_age(output) == (1, 37)
    output[0] = 0.3
    assert decode_gender_age(output)[0] == 0


def test_an_empty_model_is_not_loaded_and_missed_in_words(scene: Scene) -> None:
    model = face_model.FaceModel(arguments(scene, model="", ga_model=""))
    aligned = model.get_input(scene.image())
    assert aligned is not None
    with pytest.raises(ConfigError, match="give --model PREFIX,EPOCH"):
        model.get_feature(aligned)
    with pytest.raises(ConfigError, match="give --ga-model PREFIX,EPOCH"):
        model.get_ga(aligned)


@pytest.mark.parametrize("text", ["prefix", "prefix,1|2", "prefix,x"])
def test_a_model_without_one_epoch_is_refused(scene: Scene, text: str) -> None:
    with pytest.raises(ConfigError, match="model 'prefix"):
        face_model.FaceModel(arguments(scene, model=text))


def test_the_refusal_names_the_flag(scene: Scene) -> None:
    with pytest.raises(ConfigError, match=r"^--ga-model 'prefix'"):
        face_model.FaceModel(arguments(scene, ga_model="prefix"))


@pytest.mark.mxnet
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_both_engines_embed_alike(scene: Scene) -> None:
    image = scene.image()
    for module in (face_model, face_embedding):
        ours, theirs = (module.FaceModel(arguments(scene, engine=engine)) for engine in ("torch", "mxnet"))
        assert "mxnet" in type(theirs.model).__name__.lower()
        if module is face_model:
            image = ours.get_input(scene.image())
            assert ours.get_ga(image) == theirs.get_ga(image)
        np.testing.assert_allclose(ours.get_feature(image), theirs.get_feature(image), atol=1e-5)
        image = scene.image()


def test_no_face_is_none(scene: Scene, tmp_path: Path) -> None:
    blind = save_constant_mtcnn(tmp_path, everywhere=False, never=True)
    for det in (0, 1):
        assert face_model.FaceModel(arguments(scene, det=det, mtcnn_path=blind)).get_input(scene.image()) is None
    assert face_embedding.FaceModel(arguments(scene, mtcnn_path=blind)).get_feature(scene.image()) is None


@pytest.mark.parametrize("det", [1, 2])
def test_face_embedding_sums_both_sides_and_normalises(scene: Scene, det: int) -> None:
    # the original's attributes only; gender and age are none of its business
    args = arguments(scene, det=det)
    del args.ga_model
    plain = face_embedding.FaceModel(args).get_feature(scene.image())
    args.flip = 1
    flipped = face_embedding.FaceModel(args).get_feature(scene.image())
    assert plain is not None and flipped is not None
    aligned = expected_aligned(scene)
    raw = raw_embedding(scene, scene.model, aligned.copy())
    np.testing.assert_allclose(plain, normalize(raw), atol=2e-2)
    raw += raw_embedding(scene, scene.model, aligned[:, ::-1].copy())
    np.testing.assert_allclose(flipped, normalize(raw), atol=2e-2)
    assert np.linalg.norm(flipped) == pytest.approx(1, abs=1e-6)
    assert np.abs(plain - flipped).max() > 2e-2


def test_the_image_size_is_that_of_the_flag(scene: Scene) -> None:
    model = face_model.FaceModel(arguments(scene, image_size="112,96", model="", ga_model=""))
    aligned = model.get_input(scene.image())
    assert aligned is not None
    assert aligned.shape == (3, 112, 96)
    assert np.abs(aligned.astype(int) - expected_aligned(scene, "112,96").transpose(2, 0, 1)).mean() < 0.01
