// The pad of vaelib.widgets.drawing_pad: draw, and see what encoder and decoder make of
// it. The upper two thirds are for the hand, the rest for the networks.

const PAD = 280; // drawing pixels along an edge, ten to each of MNIST's
const PEN = 24; // drawing pixels across, about as wide as MNIST's strokes
const DIGIT = 20; // MNIST's digits fill 20 x 20 of the 28 x 28 pixels
const FILL_ROUNDS = 30; // more change nothing that one sees

function render({ model, el }) {
  const encode = buildNetwork(model.get("encoder"));
  const decode = buildNetwork(model.get("decoder"));
  const order = model.get("order");
  const examples = model.get("examples");
  // Not el itself: ipywidgets takes away what its layout does not know.
  const root = makeElement("div", el, {}, `display: flex; flex-wrap: wrap;
    gap: 1.2em; align-items: flex-start; font-size: var(--jp-content-font-size1, 14px)`);

  const hand = makeElement("div", root, {},
    "display: flex; flex-direction: column; gap: 8px; max-width: 300px");
  const pad = makeElement("canvas", hand, { width: PAD, height: PAD },
    `width: ${PAD}px; border: 1px solid gray; cursor: crosshair; touch-action: none;
     background: black`);
  pad.setAttribute("role", "img");
  pad.setAttribute("aria-label", "pad to draw a digit on; the images below do as well");
  const context = pad.getContext("2d", { willReadFrequently: true });
  const buttons = makeElement("div", hand, {}, "display: flex; gap: 8px");
  makeButton(buttons, "Clear", clear);
  const rubber = makeButton(buttons, "Rubber", () => {
    const pressed = rubber.getAttribute("aria-pressed") !== "true";
    rubber.setAttribute("aria-pressed", pressed);
    rubber.style.borderWidth = pressed ? "3px" : "1px";
  });
  rubber.setAttribute("aria-pressed", "false");
  const centred = makeCheckbox(hand, "Centre as MNIST's digits are", follow);
  const hidden = makeCheckbox(hand, "Hide the lower half, and fill it in", follow);
  makeExamples(hand, examples, examples.byteLength / SIDE ** 2, startFrom);

  const pictures = makeElement("div", root, {},
    "display: flex; flex-direction: column; gap: 8px");
  const seen = makeLabelled(pictures, "What the encoder sees");
  const decoded = makeLabelled(pictures, "Decoded from mu");
  const posterior = makePosterior(root, order.length);

  function clear() {
    context.fillStyle = "black";
    context.fillRect(0, 0, PAD, PAD);
    centred.checked = true;
    follow();
  }

  function startFrom(i) {
    enlarge(examplePixels(examples, i));
    follow();
  }

  function enlarge(picture) {
    const tile = Object.assign(document.createElement("canvas"),
      { width: SIDE, height: SIDE });
    paintPicture(tile, picture);
    context.imageSmoothingEnabled = false;
    context.drawImage(tile, 0, 0, PAD, PAD);
    centred.checked = false; // it is centred already, and stays so when parts go
  }

  let last = null; // where the pen was
  pad.onpointerdown = (event) => {
    pad.setPointerCapture(event.pointerId);
    last = [event.offsetX, event.offsetY];
    pad.onpointermove(event);
  };
  pad.onpointermove = (event) => {
    if (!last) return;
    const erasing = rubber.getAttribute("aria-pressed") === "true";
    Object.assign(context, { lineCap: "round", lineWidth: erasing ? 2 * PEN : PEN,
      strokeStyle: erasing ? "black" : "white" });
    context.beginPath();
    context.moveTo(...last);
    last = [event.offsetX, event.offsetY];
    context.lineTo(...last);
    context.stroke();
    follow();
  };
  pad.onpointerup = pad.onpointercancel = () => {
    last = null;
    tellPython();
  };

  let pixels = new Float32Array(SIDE * SIDE);
  function follow() {
    show();
    if (!last) tellPython();
  }

  function show() {
    const grey = readGrey(context);
    pixels = centred.checked ? centre(grey) : shrink(grey, 0, 0, PAD / SIDE);
    const known = hidden.checked ? (SIDE * SIDE) / 2 : SIDE * SIDE;
    const [mu, sigma] = infer(pixels, known);
    paintPicture(seen, pixels.map((grey, i) => (i < known ? grey : 0.4)));
    paintPicture(decoded, decode(mu));
    paintPosterior(posterior, order, mu, sigma);
  }

  // mu and sigma of q(z|x). What is not known of x is first filled in, over and over,
  // with what is decoded from the code of what is (Rezende et al. 2014, appendix F).
  function infer(x, known) {
    const filled = x.slice();
    filled.fill(0, known);
    let output = encode(filled);
    const latents = output.length / 2;
    for (let round = 0; known < x.length && round < FILL_ROUNDS; round++) {
      filled.set(decode(output.subarray(0, latents)).subarray(known), known);
      output = encode(filled);
    }
    const softplus = (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a)));
    const sigma = output.subarray(latents)
      .map((a) => softplus(a) + model.get("sigma_floor"));
    return [output.subarray(0, latents), sigma];
  }

  function tellPython() {
    const bytes = Uint8Array.from(pixels, (grey) => Math.round(255 * grey));
    model.set("pixels", new DataView(bytes.buffer));
    model.save_changes();
  }

  // What Python has: another view, or the page before a reload, may have changed it.
  enlarge(examplePixels(model.get("pixels"), 0));
  show();
}

// The pad's grey values in [0, 1], row by row.
function readGrey(context) {
  const { data } = context.getImageData(0, 0, PAD, PAD);
  return Float32Array.from({ length: PAD * PAD }, (_, i) => data[4 * i] / 255);
}

// 28 x 28 pixels from the pad, each the mean over a square of `width` drawing pixels;
// the first square's corner is at (left, top), outside the pad all is black.
function shrink(grey, left, top, width) {
  const sums = integrate(grey);
  // The sum of all left of and above a point; between drawing pixels it is bilinear.
  const below = (x, y) => {
    [x, y] = [Math.min(Math.max(x, 0), PAD), Math.min(Math.max(y, 0), PAD)];
    const [i, j] = [Math.min(Math.floor(x), PAD - 1), Math.min(Math.floor(y), PAD - 1)];
    const at = (i, j) => sums[j * (PAD + 1) + i];
    const upper = at(i, j) + (x - i) * (at(i + 1, j) - at(i, j));
    const lower = at(i, j + 1) + (x - i) * (at(i + 1, j + 1) - at(i, j + 1));
    return upper + (y - j) * (lower - upper);
  };
  return Float32Array.from({ length: SIDE * SIDE }, (_, k) => {
    const x = left + width * (k % SIDE);
    const y = top + width * Math.floor(k / SIDE);
    const sum = below(x + width, y + width) - below(x, y + width)
      - below(x + width, y) + below(x, y);
    return sum / width ** 2;
  });
}

// Sums over all drawing pixels left of and above each corner, (PAD + 1) x (PAD + 1).
function integrate(grey) {
  const sums = new Float64Array((PAD + 1) ** 2);
  for (let j = 0; j < PAD; j++) {
    for (let i = 0, row = 0; i < PAD; i++) {
      row += grey[j * PAD + i];
      sums[(j + 1) * (PAD + 1) + i + 1] = sums[j * (PAD + 1) + i + 1] + row;
    }
  }
  return sums;
}

// As MNIST's digits are: scaled so that the longer edge of their box is 20 pixels, their
// centre of mass in the middle of the 28 x 28 (LeCun et al. 1998).
function centre(grey) {
  let [left, top, right, bottom, mass, massX, massY] = [PAD, PAD, -1, -1, 0, 0, 0];
  grey.forEach((value, k) => {
    if (value < 0.05) return;
    const [i, j] = [k % PAD, Math.floor(k / PAD)];
    [left, right] = [Math.min(left, i), Math.max(right, i)];
    [top, bottom] = [Math.min(top, j), Math.max(bottom, j)];
    mass += value;
    massX += value * (i + 0.5);
    massY += value * (j + 0.5);
  });
  if (mass === 0) return new Float32Array(SIDE * SIDE);
  const width = Math.max(right - left + 1, bottom - top + 1) / DIGIT;
  const half = (width * SIDE) / 2;
  return shrink(grey, massX / mass - half, massY / mass - half, width);
}

function makeCheckbox(parent, text, onchange) {
  const label = makeElement("label", parent, {}, "display: flex; gap: 0.4em");
  const box = makeElement("input", label, { type: "checkbox", onchange },
    "flex: none; font: inherit; width: 0.9em; height: 0.9em; margin: 0.1em 0 0");
  label.append(text);
  return box;
}

function makeLabelled(parent, text) {
  const figure = makeElement("figure", parent, {}, "margin: 0");
  makeElement("figcaption", figure, { textContent: text });
  const picture = makePicture(figure, "max(196px, 9em)");
  picture.setAttribute("aria-label", text);
  return picture;
}

const ROW = 20; // units a latent in the picture of the posterior
const WIDE = 300;
const SHARP = 2; // pixels a unit: on slides it is enlarged

function makePosterior(parent, latents) {
  const figure = makeElement("figure", parent, {}, "margin: 0");
  makeElement("figcaption", figure, { textContent: "q(z|x): mu ± 2 sigma, −4 to 4" });
  const size = { width: SHARP * WIDE, height: SHARP * ROW * latents };
  const canvas = makeElement("canvas", figure, size, `width: max(${WIDE}px, 15em);
    max-width: 100%; box-sizing: border-box; border: 1px solid gray`);
  canvas.setAttribute("role", "img");
  return canvas;
}

// Each latent's posterior as a bar from mu - 2 sigma to mu + 2 sigma over the prior's.
function paintPosterior(canvas, order, mu, sigma) {
  const context = canvas.getContext("2d");
  const across = (z) => 40 + ((z + 4) / 8) * (WIDE - 50);
  context.setTransform(SHARP, 0, 0, SHARP, 0, 0);
  context.fillStyle = "white";
  context.fillRect(0, 0, WIDE, ROW * order.length);
  context.fillStyle = "#56B4E955"; // the prior's colour
  context.fillRect(across(-2), 0, across(2) - across(-2), ROW * order.length);
  context.font = "16px sans-serif";
  context.textBaseline = "middle";
  order.forEach((j, row) => {
    const y = ROW * (row + 0.5);
    context.fillStyle = "black";
    context.fillText(`z${j}`, 6, y);
    context.fillStyle = "#E69F00"; // the posterior's
    context.fillRect(across(mu[j] - 2 * sigma[j]), y - 5, across(4 * sigma[j]) - across(0), 10);
    context.fillStyle = "black";
    context.fillRect(across(mu[j]) - 1, y - 7, 2, 14);
  });
  const said = order.map((j) => `z${j} ${mu[j].toFixed(2)} ± ${sigma[j].toFixed(2)}`);
  canvas.setAttribute("aria-label", `posterior, mu and sigma: ${said.join(", ")}`);
}

export default { render };
