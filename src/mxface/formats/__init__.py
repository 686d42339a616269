"""Files of 2019 as objects, and back: one module a format, bytes described in docs/FORMATS.md. Loads no torch.

Readers raise FormatError for a file that does not hold what it should, and OSError for one that cannot be opened.
"""
