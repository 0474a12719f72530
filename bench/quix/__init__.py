"""A Quix Streams app that does the workload's job, and the environment it runs in."""
