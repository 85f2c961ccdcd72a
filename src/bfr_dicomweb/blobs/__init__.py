"""The bytes: where stored objects live and how they get there safely."""
