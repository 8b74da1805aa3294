"""Parts of t-VMC: ansaetze, walkers, and the motion of both."""
