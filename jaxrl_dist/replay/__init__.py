"""Experience kept as rows and drawn as sequences."""
