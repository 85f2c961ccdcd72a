"""Real clients against a real archive process: OHIF in Chromium, and dicomweb-client."""
