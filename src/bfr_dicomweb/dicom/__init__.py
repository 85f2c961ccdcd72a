"""Pure knowledge of DICOM and PS3.18: no I/O, no framework, no waiting."""
