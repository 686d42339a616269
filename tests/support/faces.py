"""Photographs of people who do not exist: a smooth field of colours for a person, more noise for each photograph."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def photograph(
    person: int, number: int = 1, size: tuple[int, int] = (112, 112), noise: float = 40
) -> NDArray[np.uint8]:
    """RGB (H, W, 3); the same arguments give the same pixels."""
    face = np.random.default_rng(person).normal(128, 60, (6, 6, 3))
    blur = np.random.default_rng((person, number)).normal(0, noise, (14, 14, 3))
    height, width = size
    pixels = sum(cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in (face, blur))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def encode(picture: NDArray[np.uint8], extension: str = ".jpg") -> bytes:
    """An RGB picture as the bytes of a file."""
    return cv2.imencode(extension, np.ascontiguousarray(picture[:, :, ::-1]))[1].tobytes()


def encoded_pairs(count: int, size: tuple[int, int] = (112, 112), noise: float = 40) -> tuple[list[bytes], list[bool]]:
    """2P files and issame (P,): pairs of one person and of two in turn; person k's first photograph is in two pairs."""
    files, issame = [], []
    for pair in range(count):
        same = pair % 2 == 0
        other = (pair // 2, 2) if same else (1000 + pair, 1)
        files += [encode(photograph(*who, size, noise)) for who in ((pair // 2, 1), other)]
        issame.append(same)
    return files, issame
