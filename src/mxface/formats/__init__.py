"""Files of 2019 as objects, and back: one module a format, bytes described in docs/FORMATS.md. Loads no torch."""
