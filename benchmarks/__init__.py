"""Measurements of the running server. Each script is a command; README.md lists them."""
