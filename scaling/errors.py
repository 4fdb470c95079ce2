"""Errors that end a command in one line."""


class ConfigError(ValueError):
    """Unusable input from the user. The message is one line: what, why, and what to do."""
