"""The version of the library, as installed."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("omem-rs")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"
