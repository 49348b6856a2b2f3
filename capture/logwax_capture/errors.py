"""Errors of this package: each says what happened, and what to do."""


class CaptureError(Exception):
    """Any error of this package."""


class SettingError(CaptureError, ValueError):
    """A setting has a value that it cannot have."""
