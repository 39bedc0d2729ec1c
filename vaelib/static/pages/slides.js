// Starts reveal.js. A slide that is taller than the screen scrolls, and the keys that go
// on to the next slide scroll to its end first.

const WIDGETS = ".jupyter-widgets, .widget-subarea, summary, a, [contenteditable]";

// Keys on a slider or a button are for it alone; Escape gives them back to the slides.
function forSlides(event) {
  const part = event.target.closest?.(WIDGETS);
  if (part && event.key === "Escape") event.target.blur();
  return !part;
}

function scroll(direction) {
  const slide = Reveal.getCurrentSlide();
  const before = slide.scrollTop;
  slide.scrollTop += direction * 0.8 * slide.clientHeight;
  return Math.abs(slide.scrollTop - before) > 1;
}

const forward = () => scroll(1) || Reveal.next();
const back = () => scroll(-1) || Reveal.prev();

const settings = {
  width: 1280,
  height: 720,
  margin: 0,
  center: false,
  hash: true,
  slideNumber: "h.v",
  transition: "none",
  scrollActivationWidth: null, // on a phone, still slides: the pages are for reading
  keyboardCondition: forSlides,
  keyboard: {
    32: (event) => (event.shiftKey ? back() : forward()), // space
    33: back, // page up
    34: forward, // page down, as presenters' remote controls send it
    38: () => scroll(-1) || Reveal.up(),
    40: () => scroll(1) || Reveal.down(),
  },
  plugins: [RevealNotes],
};

// After the mathematics: reveal.js keeps a copy of each slide's text, to be read out.
MathJax.startup.promise.then(() => Reveal.initialize(settings));

Reveal.on("slidechanged", ({ previousSlide }) => {
  if (previousSlide) previousSlide.scrollTop = 0; // the next visit starts at its top
});

// A slider reached by keyboard is shown with all that it moves, as far as that fits.
document.addEventListener("focusin", ({ target }) => {
  const output = target.closest(".jp-OutputArea");
  if (!output || !target.matches(":focus-visible")) return;
  const slide = Reveal.getCurrentSlide();
  const below = output.offsetTop + output.offsetHeight - slide.clientHeight;
  slide.scrollTop = Math.max(slide.scrollTop, Math.min(output.offsetTop, below + 48));
});
