"""What is read off a state: moments and energies, correlations, momentum, velocity fields."""
