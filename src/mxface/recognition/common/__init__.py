"""Small commands beside recognition/train.py."""
