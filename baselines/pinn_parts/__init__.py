"""Parts of the physics-informed network: features, network, residual, points and optimisers."""
