"""What goes wrong with a broker for development and tests."""


class BrokerFailed(Exception):
    """The broker does not do what it was told. The message says where to look."""
