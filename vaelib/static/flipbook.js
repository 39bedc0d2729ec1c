// Shows one of the frames that vaelib.widgets.flipbook drew beforehand.
// The frames and labels are in the model, so that no kernel is needed to flip.

function render({ model, el }) {
  const pictures = model.get("frames").map((png) => {
    const picture = new Image();
    picture.src = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    return picture; // kept, so that the browser holds on to what it has loaded
  });

  const label = document.createElement("output"); // read out when it changes
  label.style.cssText = `flex: 0 1 auto; margin-left: 1em; font-weight: 600;
    color: var(--jp-content-font-color1); font-size: var(--jp-content-font-size2);
    font-variant-numeric: tabular-nums`;

  const shown = document.createElement("img");
  shown.setAttribute("role", "img");
  shown.decoding = "sync"; // decode and paint in one step: no flicker
  [shown.width, shown.height] = model.get("size");
  shown.style.cssText = `box-sizing: content-box; max-width: calc(100% - 12px);
    height: auto; padding: 6px; background: white`;

  const row = document.createElement("div");
  row.style.cssText = "flex: 0 0 100%; min-width: 0; margin-top: 4px";
  row.append(shown);

  el.append(label, row); // items of the box's own row: el has display "contents"

  function show() {
    const index = model.get("index");
    label.textContent = model.get("labels")[index];
    shown.src = pictures[index].src;
    shown.setAttribute("aria-label", `${model.get("alt")}: ${label.textContent}`);
  }
  show();
  model.on("change:index", show);
  return () => {
    model.off("change:index", show);
    pictures.forEach((picture) => URL.revokeObjectURL(picture.src));
  };
}

export default { render };
