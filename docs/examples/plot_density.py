"""The density of a run, drawn from its results: python plot_density.py runs/well density.png"""

import sys

import matplotlib

matplotlib.use("Agg")  # write files, on machines without a screen too
import matplotlib.pyplot as plt

import dsmsim

run, picture = sys.argv[1:]
results = dsmsim.open(run)
density = results["density"]
mean = results["observables/mean"].isel(particle=0, axis=0)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
density.density.plot(x="time", ax=left, cbar_kwargs={"label": "density"})
left.plot(mean.time, mean, "w--", label="mean of one boson")
left.set(xlabel="t", ylabel="x")
left.legend(loc="upper left")

for time in (0.0, 0.75, 1.5):
    cut = density.sel(time=time, method="nearest")
    low, high = cut.density - 2 * cut.density_stderr, cut.density + 2 * cut.density_stderr
    right.plot(cut.x, cut.density, label=f"t = {float(cut.time):g}")
    right.fill_between(cut.x, low, high, alpha=0.3)
right.set(xlabel="x", ylabel="density")
right.legend()
figure.savefig(picture, dpi=120)
