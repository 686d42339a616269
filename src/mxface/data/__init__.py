"""Makers of data sets: lists, record files, evaluation packs. Importing this loads no torch."""
