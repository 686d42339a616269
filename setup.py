"""Kept for `pip install` of old habit (`python setup.py …` is gone); the metadata is in pyproject.toml."""

from setuptools import setup

setup()
