"""Training: one plain loop, and what it is made of."""
