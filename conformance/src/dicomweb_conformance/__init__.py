"""A conformance suite that judges any DICOMweb server from outside."""

__version__ = "0.1.0"
