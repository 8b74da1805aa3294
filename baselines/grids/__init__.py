"""Grids that hold the whole wave function, the steps on them, and their refinement."""
