// Gives names that a screen reader can say to what ipywidgets leaves without one, in
// the box that this view lies in, and makes its messages heard.

function render({ model, el }) {
  let observer;
  function start() {
    const box = el.closest(".vaelib");
    if (!box) return requestAnimationFrame(start); // not on the page yet
    observer = new MutationObserver(() => nameParts(box, model.get("alt")));
    observer.observe(box, { childList: true, subtree: true }); // parts come one by one
    nameParts(box, model.get("alt"));
  }
  start();
  return () => observer?.disconnect();
}

function nameParts(box, alt) {
  for (const slider of box.querySelectorAll(".widget-slider")) {
    const name = slider.querySelector(".widget-label")?.textContent;
    const handles = slider.querySelectorAll(".noUi-handle"); // two of a range
    handles.forEach((handle, i) => {
      setLabel(handle, handles.length > 1 ? `${name}, ${["from", "to"][i]}` : name);
    });
    setLabel(slider.querySelector(".widget-readout"), `value of ${name}`);
  }
  for (const play of box.querySelectorAll(".widget-play")) {
    const [run, stop] = play.querySelectorAll("button");
    setLabel(run, "play or pause");
    setLabel(stop, "stop and return to the first");
  }
  for (const image of box.querySelectorAll("img.widget-image")) image.alt = alt;
  for (const message of box.querySelectorAll(".vaelib-alert")) {
    message.setAttribute("role", "alert");
  }
}

function setLabel(element, name) {
  if (element && element.getAttribute("aria-label") !== name) {
    element.setAttribute("aria-label", name);
  }
}

export default { render };
