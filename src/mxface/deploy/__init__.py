"""Trained networks put to use on photographs: one face found, aligned and described; two compared."""
