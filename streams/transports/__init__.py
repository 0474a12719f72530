"""Faust transports over our logs, found by entry point."""
