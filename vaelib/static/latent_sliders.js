// Decodes the code that the sliders of vaelib.widgets.latent_sliders set.

function render({ model, el }) {
  const decode = buildNetwork(model.get("decoder"));
  const names = model.get("names"); // of the latents: "z0", "z1" ...
  const keys = names.map((_, j) => `z${j}`);
  // Not el itself: ipywidgets takes away what its layout does not know.
  const root = makeElement("div", el, {}, `display: flex; flex-direction: column;
    gap: 8px; align-items: flex-start; font-size: var(--jp-content-font-size1, 14px)`);

  const picture = makePicture(root, "308px");
  const buttons = makeElement("div", root, {}, "display: flex; gap: 8px; flex-wrap: wrap");
  makeButton(buttons, "Reset", () => moveTo(keys.map(() => 0)));
  makeButton(buttons, "Random code", () => moveTo(keys.map(drawNormal)));
  if (model.get("more")) {
    const more = makeButton(buttons, "", () => {
      model.set("rest_display", model.get("rest_display") === "none" ? "flex" : "none");
      model.save_changes();
    });
    const follow = () => {
      const open = model.get("rest_display") !== "none";
      const plural = model.get("more") > 1 ? "s" : "";
      more.textContent = open ? "Fewer latents" : `${model.get("more")} more latent${plural}`;
      more.setAttribute("aria-expanded", open);
    };
    follow();
    model.on("change:rest_display", follow);
  }
  const codes = model.get("example_codes");
  if (codes.length) {
    makeExamples(root, model.get("examples"), codes.length, (i) => moveTo(codes[i]));
  }

  // A draw from the prior N(0, 1), at a step of the slider (Box and Muller 1958).
  function drawNormal() {
    const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
    const z = radius * Math.cos(2 * Math.PI * Math.random());
    const step = model.get("step");
    return Math.abs(z) <= model.get("extent") ? step * Math.round(z / step) : drawNormal();
  }

  function moveTo(code) {
    model.set(Object.fromEntries(keys.map((key, j) => [key, code[j]])));
    model.save_changes();
  }

  function show() {
    const code = keys.map((key) => model.get(key));
    paintPicture(picture, decode(code));
    const moved = names
      .map((name, j) => `${name} = ${code[j].toFixed(2)}`)
      .filter((_, j) => code[j] !== 0);
    picture.setAttribute("aria-label",
      `${model.get("alt")} at ${moved.join(", ") || "all latents 0"}`);
  }
  show();
  model.on("change", show); // once, however many latents a button has moved
}

export default { render };
