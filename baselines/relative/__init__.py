"""Parts of the relative grid: coordinates, sinc grids, the breathing frame, steps, observables."""
