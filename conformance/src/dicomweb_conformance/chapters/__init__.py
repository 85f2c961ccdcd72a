"""The cases: one module for each chapter of ids, found by being here."""
