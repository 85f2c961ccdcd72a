"""Stored objects as pictures, moving pictures and text (PS3.18 section 8.7.4)."""
