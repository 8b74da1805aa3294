"""Bosons in oscillator orbitals: states below a cutoff, operators on them, what is read off them."""
