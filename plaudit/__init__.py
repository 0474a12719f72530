"""Composition root: settings and the command line. It wires; it decides nothing."""
