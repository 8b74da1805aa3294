"""Measurements that are no run of the program: each writes columns of numbers into a measurement.h5."""
