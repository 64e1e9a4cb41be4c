"use strict";
// One slider moves all panels: each has data sets of which some columns change with the scale.
(() => {
  const content = JSON.parse(document.getElementById("slides").textContent);
  const moving = document.getElementById("moving");
  const range = document.getElementById("scale");
  const said = document.getElementById("scale-text");
  const back = document.getElementById("scale-back");
  const on = document.getElementById("scale-on");

  const table = (panel, name, at) => {
    const columns = { ...panel.fixed[name] };
    for (const [key, values] of Object.entries(panel.moving[name] || {})) columns[key] = values[at];
    const keys = Object.keys(columns);
    return columns[keys[0]].map((_, row) => {
      const entry = {};
      for (const key of keys) entry[key] = columns[key][row];
      return entry;
    }).filter((entry) => keys.every((key) => entry[key] !== null));
  };

  const names = (panel) => [...new Set([...Object.keys(panel.fixed), ...Object.keys(panel.moving)])];

  const show = async (panel) => {
    const datasets = Object.fromEntries(names(panel).map((name) => [name, table(panel, name, 0)]));
    const place = document.querySelector(`#${panel.name} .plot`);
    // ast: expressions are interpreted, never compiled to code, so the page's policy can forbid that
    const options = { mode: "vega-lite", renderer: "svg", ast: true, actions: false, tooltip: false, defaultStyle: false };
    return (await vegaEmbed(place, { ...panel.spec, datasets }, options)).view;
  };

  const words = (at) => {
    said.textContent = content.texts[at];
    range.setAttribute("aria-valuetext", content.texts[at]);
    back.disabled = at === 0;
    on.disabled = at === content.texts.length - 1;
    for (const panel of content.panels) {
      const place = document.getElementById(panel.name);
      place.querySelector("figcaption").textContent = panel.captions[at];
      place.querySelector(".plot").setAttribute("aria-label", `${place.dataset.alt} ${panel.captions[at]}`);
    }
  };

  const start = async () => {
    moving.classList.add("ready"); // first the place, whose width the panels take
    const views = await Promise.all(content.panels.map(show));
    let drawn = 0;
    const draw = async () => {
      const at = Number(range.value);
      if (at === drawn) return;
      drawn = at;
      await Promise.all(content.panels.map((panel, index) => {
        for (const name of Object.keys(panel.moving)) views[index].data(name, table(panel, name, at));
        return views[index].runAsync();
      }));
      moving.dataset.at = at; // all panels have arrived
    };
    const move = () => { words(Number(range.value)); requestAnimationFrame(draw); };
    const step = (by) => () => { range.value = Number(range.value) + by; move(); };
    range.addEventListener("input", move);
    back.addEventListener("click", step(-1));
    on.addEventListener("click", step(1));
    range.value = 0; // a browser may restore where it stood
    words(0);
    moving.dataset.at = 0;
  };

  start().catch((error) => { moving.classList.remove("ready"); console.error(error); });
})();
