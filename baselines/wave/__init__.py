"""Wave functions that are known point by point: samples of |psi|^2 and everything measured on them."""
