"""Composition root: settings and the `plaudit` command line."""
