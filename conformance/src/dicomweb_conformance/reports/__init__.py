"""What a run leaves behind: JSON (the record), JUnit XML, one HTML page."""
