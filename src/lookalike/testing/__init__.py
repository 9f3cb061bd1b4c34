"""Contract suites that every implementation of an interface passes; they need pytest."""
