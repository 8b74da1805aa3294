"use strict";
// Every drawing holds its own figure as JSON; the slider of a block chooses the frame of the drawings in it.
(() => {
  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const atOnce = { mode: "immediate", transition: { duration: 0 }, frame: { duration: 0, redraw: true } };

  async function draw(place) {
    const holder = place.querySelector("script");
    const figure = JSON.parse(holder.textContent);
    holder.remove();
    place.style.height = `${figure.layout.height}px`;
    await Plotly.newPlot(place, figure.data, figure.layout, config);
    if (figure.frames) await Plotly.addFrames(place, figure.frames);
  }

  function connect(block) {
    const slider = block.querySelector("input[type=range]");
    if (!slider) return;
    const times = JSON.parse(slider.dataset.times);
    const output = block.querySelector("output");
    const show = () => {
      const k = Number(slider.value);
      output.textContent = times[k].toPrecision(4);
      slider.setAttribute("aria-valuetext", `t = ${times[k].toPrecision(4)}`);
      for (const place of block.querySelectorAll(".drawing")) Plotly.animate(place, [String(k)], atOnce);
    };
    slider.addEventListener("input", show);
    show();
  }

  // on paper there is less room, and nothing can be opened
  let closed = [];
  const resized = (width) => document.querySelectorAll(".drawing").forEach((place) =>
    width ? Plotly.relayout(place, { width: place.closest("figure").classList.contains("wide") ? width : width / 2 - 12 })
      : Plotly.relayout(place, { width: null, autosize: true }));
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details.printed:not([open])")];
    closed.forEach((part) => { part.open = true; });
    resized(680);
  });
  window.addEventListener("afterprint", () => {
    closed.forEach((part) => { part.open = false; });
    resized(null);
  });

  // one block after the other, so that the first can be read while the rest is drawn
  (async () => {
    for (const block of document.querySelectorAll(".block")) {
      for (const place of block.querySelectorAll(".drawing")) await draw(place);
      connect(block);
      await new Promise((done) => setTimeout(done));
    }
    document.documentElement.dataset.ready = "true"; // for whoever waits until everything is drawn
  })();
})();
