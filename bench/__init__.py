"""Measurements of the system: run by hand with `make bench NAME=<module>`, never part of the tests."""
