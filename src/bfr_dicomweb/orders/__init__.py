"""Orders, exams, reports and patients: what was said of them, and what follows from it."""
