// The plane of two latents of vaelib.widgets.latent_map: decoded pictures, the encoded
// data upon them, and a point that mouse, finger or arrow keys move.

const COLOURS = ["#56B4E9", "#E69F00", "#3CCB9E", "#F0E442", "#FF8C42", "#F5A3CF",
  "#9FC5FF", "#FFFFFF", "#B8E986", "#FF7B72"]; // light, to be read on black

function render({ model, el }) {
  const decode = buildNetwork(model.get("decoder"));
  const extent = model.get("extent");
  // Not el itself: ipywidgets takes away what its layout does not know.
  const root = makeElement("div", el, {}, `display: flex; flex-wrap: wrap;
    gap: 1em; align-items: flex-start; font-size: var(--jp-content-font-size1, 14px)`);

  const size = SIDE * model.get("tiles");
  const map = makeElement("canvas", root, { width: size, height: size, tabIndex: 0 },
    `flex: 1 1 300px; min-width: 0; max-width: max(500px, 21em); cursor: crosshair;
     touch-action: none; border: 1px solid gray; background: black`);
  map.setAttribute("role", "application");
  map.setAttribute("aria-roledescription", "latent map");
  map.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the arrow keys
  const side = makeElement("div", root, {}, "flex: 1 1 308px; max-width: max(308px, 18em)");
  const picture = makePicture(side, "max(308px, 14em)");
  const readout = makeElement("output", side, {}, `display: block; white-space: pre;
    font-size: 1.2em; font-variant-numeric: tabular-nums`);
  const numbers = [0, 1].map(() => makeElement("span", readout, {},
    "display: inline-block; min-width: 6em")); // the second stays where it is
  makeElement("div", side, { textContent: "Point, drag, or use the arrow keys (Shift: " +
    "larger steps, Home: the middle)." });

  const ground = drawGround(model, decode, size, extent);
  const toPixel = (z) => ((z + extent) / (2 * extent)) * size;

  function show() {
    const [z0, z1] = [model.get("z0"), model.get("z1")];
    const context = map.getContext("2d");
    context.drawImage(ground, 0, 0);
    const [x, y] = [toPixel(z0), size - toPixel(z1)];
    for (const [colour, width] of [["black", 6], ["white", 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
    }
    paintPicture(picture, decode([z0, z1]));
    numbers[0].textContent = `z0 = ${z0.toFixed(2)}, `;
    numbers[1].textContent = `z1 = ${z1.toFixed(2)}`;
    picture.setAttribute("aria-label", `${model.get("alt")} at ${readout.textContent}`);
    map.setAttribute("aria-label", `map of two latents, ${readout.textContent}`);
  }

  function moveTo(z0, z1) {
    const clamp = (z) => Math.min(Math.max(z, -extent), extent);
    model.set({ z0: clamp(z0), z1: clamp(z1) });
    model.save_changes();
  }

  map.onpointerdown = map.onpointermove = (event) => {
    if (event.type === "pointerdown") map.setPointerCapture(event.pointerId);
    const box = map.getBoundingClientRect();
    moveTo(extent * ((2 * (event.clientX - box.left)) / box.width - 1),
      extent * (1 - (2 * (event.clientY - box.top)) / box.height));
  };
  map.onkeydown = (event) => {
    const step = ((event.shiftKey ? 5 : 1) * extent) / 50;
    const steps = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step],
      ArrowDown: [0, -step], Home: [-model.get("z0"), -model.get("z1")] };
    if (!(event.key in steps)) return;
    event.preventDefault(); // no scrolling
    event.stopPropagation(); // nor, on slides, the next slide
    const [right, up] = steps[event.key];
    moveTo(model.get("z0") + right, model.get("z1") + up);
  };
  show();
  model.on("change", show);
}

// What lies below the pointer, drawn once: decoded pictures, and the data.
function drawGround(model, decode, size, extent) {
  const ground = Object.assign(document.createElement("canvas"),
    { width: size, height: size });
  const tile = Object.assign(document.createElement("canvas"),
    { width: SIDE, height: SIDE });
  const context = ground.getContext("2d");
  const tiles = model.get("tiles");
  for (let row = 0; row < tiles; row++) {
    for (let column = 0; column < tiles; column++) {
      const [z0, z1] = [column, tiles - 1 - row].map(
        (i) => extent * ((2 * i + 1) / tiles - 1));
      paintPicture(tile, decode([z0, z1]));
      context.drawImage(tile, SIDE * column, SIDE * row);
    }
  }
  context.fillStyle = "rgba(0, 0, 0, 0.55)"; // so that the data stand out
  context.fillRect(0, 0, size, size);
  context.font = "bold 16px sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const labels = model.get("labels");
  const kinds = [...new Set(labels)].sort();
  model.get("points").forEach(([z0, z1], i) => {
    context.fillStyle = COLOURS[kinds.indexOf(labels[i]) % COLOURS.length];
    context.fillText(labels[i], ((z0 + extent) / (2 * extent)) * size,
      ((extent - z1) / (2 * extent)) * size);
  });
  return ground;
}

export default { render };
