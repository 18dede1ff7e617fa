"""The runtimes that turn agents into runs."""
