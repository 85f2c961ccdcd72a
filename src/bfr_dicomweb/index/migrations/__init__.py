"""The history of the schema; each step is written to run beside the version before it."""
