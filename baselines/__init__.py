"""Solvers to compare with: each is one module with `solve(config, out)` that writes the same results.h5.

    split_step        Fourier grid, any smooth potential, up to four coordinates
    crank_nicolson    finite differences by directions, up to four coordinates
    relative_grid     harmonic traps: the centre of mass exactly, a grid for the relative coordinates
    fock              bosonic Fock space of oscillator orbitals, one dimension, any smooth potential
    exact             whichever of these is right for the problem

`grids`, `relative`, `fock_space` hold their parts, `observables` what is read off a state.
"""
