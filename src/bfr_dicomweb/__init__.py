"""A DICOMweb server for a regional registry of medical images."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bfr-dicomweb")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0"
