"""The command line: one module per command; data to stdout, words to stderr."""
