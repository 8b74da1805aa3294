"""Every published experiment, run again and put beside what was published: `python -m tools.reproduce`."""
