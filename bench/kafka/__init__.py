"""Plaudit on Kafka, an ordinary Faust app and a Quix Streams app on the same broker."""
