"""The pure domain: campaigns compiled to programs, folded over aggregates."""
