"""Use cases and transaction boundaries, told without a protocol."""
