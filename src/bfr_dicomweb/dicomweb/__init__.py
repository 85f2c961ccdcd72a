"""DICOMweb: PS3.18 on top of the services."""
