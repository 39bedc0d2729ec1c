// Fully connected networks, evaluated in the browser; prefixed to the scripts that
// draw what they decode.

const ACTIVATIONS = {
  identity: (a) => a,
  relu: (a) => Math.max(a, 0),
  silu: (a) => a / (1 + Math.exp(-a)),
  tanh: Math.tanh,
  sigmoid: (a) => 1 / (1 + Math.exp(-a)),
};

// 16-bit floating-point numbers (IEEE 754 binary16, little-endian) as 32-bit ones.
function unpackHalves(view) {
  return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true);
    const sign = bits >> 15 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = (bits & 1023) / 1024;
    if (exponent === 0) return sign * fraction * 2 ** -14; // subnormal
    return sign * (1 + fraction) * 2 ** (exponent - 15);
  });
}

function unpackFloats(view) {
  return Float32Array.from({ length: view.byteLength / 4 }, (_, i) =>
    view.getFloat32(4 * i, true),
  );
}

// The function of a network that vaelib.widgets.in_browser packed: numbers to numbers.
function buildNetwork({ layers, weights, biases }) {
  const allWeights = unpackHalves(weights);
  const allBiases = unpackFloats(biases);
  let [firstWeight, firstBias] = [0, 0];
  const steps = layers.map(([inputs, outputs, activation]) => {
    const weight = allWeights.subarray(firstWeight, firstWeight += inputs * outputs);
    const bias = allBiases.subarray(firstBias, firstBias += outputs);
    const activate = ACTIVATIONS[activation];
    return (x) => {
      const y = new Float32Array(outputs);
      for (let row = 0, w = 0; row < outputs; row++) {
        let sum = bias[row];
        for (let i = 0; i < inputs; i++) sum += weight[w++] * x[i];
        y[row] = activate(sum);
      }
      return y;
    };
  });
  return (x) => steps.reduce((value, step) => step(value), x);
}

const SIDE = 28; // pixels along the edge of every picture of the course

// Paint grey values in [0, 1] on a 28 x 28 canvas, which CSS enlarges.
function paintPicture(canvas, pixels) {
  const image = new ImageData(SIDE, SIDE);
  pixels.forEach((grey, i) => {
    image.data.fill(255 * grey, 4 * i, 4 * i + 3); // clamped and rounded by its type
    image.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function makeElement(tag, parent, properties = {}, style = "") {
  const element = Object.assign(document.createElement(tag), properties);
  element.style.cssText = style;
  parent.append(element);
  return element;
}

function makePicture(parent, width) {
  const style = `width: ${width}; image-rendering: pixelated; background: black;
    border: 1px solid gray; box-sizing: border-box`;
  const canvas = makeElement("canvas", parent, { width: SIDE, height: SIDE }, style);
  canvas.setAttribute("role", "img");
  return canvas;
}

const BUTTON = `font: inherit; padding: 0.35em 0.8em; border-radius: 4px; cursor: pointer;
  color: var(--jp-ui-font-color1, black); border: 1px solid gray;
  background: var(--jp-layout-color2, #eee)`;

function makeButton(parent, textContent, onclick) {
  return makeElement("button", parent, { textContent, onclick, type: "button" }, BUTTON);
}

// A row of small pictures to press, each calling choose(its number).
function makeExamples(parent, view, count, choose) {
  makeElement("div", parent, { textContent: "Start from this image:" });
  const row = makeElement("div", parent, {}, "display: flex; gap: 3px; flex-wrap: wrap");
  for (let i = 0; i < count; i++) {
    const button = makeElement("button", row, { type: "button" },
      "padding: 2px; border: 1px solid gray; cursor: pointer; background: none");
    button.setAttribute("aria-label", `start from image ${i + 1}`);
    button.onclick = () => choose(i);
    const thumbnail = makePicture(button, "44px");
    thumbnail.setAttribute("aria-hidden", "true");
    thumbnail.style.display = "block";
    paintPicture(thumbnail, examplePixels(view, i));
  }
}

// Picture i of those packed one byte a pixel, as numbers in [0, 1].
function examplePixels(view, i) {
  const pixels = SIDE * SIDE;
  return Float32Array.from({ length: pixels }, (_, k) =>
    view.getUint8(i * pixels + k) / 255,
  );
}
